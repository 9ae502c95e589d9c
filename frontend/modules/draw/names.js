/** What a colour is called. Never colour alone: the page always says the name and the hex value beside it. */
import { parseColour, unpack } from "./colour.js";

/** CSS Color Module Level 4, section 6.1; the browser itself knows their values. */
const CSS_NAMES = `
  aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue blueviolet brown burlywood cadetblue
  chartreuse chocolate coral cornflowerblue cornsilk crimson cyan darkblue darkcyan darkgoldenrod darkgray darkgreen darkgrey
  darkkhaki darkmagenta darkolivegreen darkorange darkorchid darkred darksalmon darkseagreen darkslateblue darkslategray
  darkslategrey darkturquoise darkviolet deeppink deepskyblue dimgray dimgrey dodgerblue firebrick floralwhite forestgreen
  fuchsia gainsboro ghostwhite gold goldenrod gray green greenyellow grey honeydew hotpink indianred indigo ivory khaki
  lavender lavenderblush lawngreen lemonchiffon lightblue lightcoral lightcyan lightgoldenrodyellow lightgray lightgreen
  lightgrey lightpink lightsalmon lightseagreen lightskyblue lightslategray lightslategrey lightsteelblue lightyellow lime
  limegreen linen magenta maroon mediumaquamarine mediumblue mediumorchid mediumpurple mediumseagreen mediumslateblue
  mediumspringgreen mediumturquoise mediumvioletred midnightblue mintcream mistyrose moccasin navajowhite navy oldlace olive
  olivedrab orange orangered orchid palegoldenrod palegreen paleturquoise palevioletred papayawhip peachpuff peru pink plum
  powderblue purple rebeccapurple red rosybrown royalblue saddlebrown salmon sandybrown seagreen seashell sienna silver
  skyblue slateblue slategray slategrey snow springgreen steelblue tan teal thistle tomato turquoise violet wheat white
  whitesmoke yellow yellowgreen
`;

/** @typedef {{name: string, red: number, green: number, blue: number}} Named */

/** @type {Named[] | null} */ let named = null;
/** @type {Map<number, string>} */ const remembered = new Map();
const REMEMBERED_MAX = 4096;

/** Names that the server itself uses come first: its "green" may be another than CSS's. @param {[string, string, string][]} basic */
export function learnNames(basic) {
  const context = document.createElement("canvas").getContext("2d");
  const pairs = basic.map(([name, value]) => [name, value]);
  for (const name of CSS_NAMES.trim().split(/\s+/)) {
    if (!context || basic.some(([known]) => known === name)) continue;
    context.fillStyle = name;
    pairs.push([name, String(context.fillStyle)]);
  }
  named = pairs.map(([name = "", value = ""]) => {
    const [red, green, blue] = unpack(parseColour(value));
    return { name, red, green, blue };
  });
  remembered.clear();
}

/**
 * The name of a colour, or "near teal" where it has none.
 * @param {number} red @param {number} green @param {number} blue
 */
export function nameOf(red, green, blue) {
  const key = (red << 16) | (green << 8) | blue;
  let name = remembered.get(key);
  if (name === undefined) {
    name = nearest(red, green, blue);
    if (remembered.size >= REMEMBERED_MAX) remembered.clear();
    remembered.set(key, name);
  }
  return name;
}

/** @param {number} red @param {number} green @param {number} blue */
function nearest(red, green, blue) {
  if (!named) learnNames([]);
  let best = "";
  let least = Infinity;
  for (const other of named ?? []) {
    const distance = apart(red, green, blue, other);
    if (distance < least) {
      least = distance;
      best = other.name;
    }
  }
  return least === 0 ? best : `near ${best}`;
}

/** Squared distance, weighted by how well eyes tell the channels apart (T. Riemersma, "Colour metric").
 * @param {number} red @param {number} green @param {number} blue @param {Named} other */
function apart(red, green, blue, other) {
  const mean = (red + other.red) / 2;
  return (2 + mean / 256) * (red - other.red) ** 2 + 4 * (green - other.green) ** 2 + (2 + (255 - mean) / 256) * (blue - other.blue) ** 2;
}
