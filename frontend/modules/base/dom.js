/** The few things that every part does with the document. Text is set as text: nothing that a network sent is parsed as HTML. */

/**
 * An element that index.html promises.
 * @template {Element} T
 * @param {string} id
 * @param {new (...args: any[]) => T} kind
 * @returns {T}
 */
export function need(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html has no ${kind.name} #${id}`);
  return /** @type {T} */ (found);
}

/**
 * The one element that matches, inside another.
 * @template {Element} T
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new (...args: any[]) => T} kind
 * @returns {T}
 */
export function within(root, selector, kind) {
  const found = root.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`no ${kind.name} ${selector}`);
  return /** @type {T} */ (found);
}

/**
 * A copy of a <template>'s first element.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function copyOf(id) {
  const first = need(id, HTMLTemplateElement).content.firstElementChild;
  if (!first) throw new Error(`template #${id} is empty`);
  return /** @type {HTMLElement} */ (first.cloneNode(true));
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A number's name that explains itself, by what /api/definitions says of `term`. @param {string} name @param {string} term */
export function explained(name, term) {
  return element("button", { type: "button", class: "term", "data-term": term }, name);
}

/**
 * One row per body in a parent, by id: rows whose body is gone go, new ones come last. Returns each body's row.
 * @template {{element: Element}} R
 * @template {{id: string}} B
 * @param {Map<string, R>} rows
 * @param {Element} parent
 * @param {B[]} bodies
 * @param {(body: B) => R} make
 * @returns {[R, B][]}
 */
export function keepRows(rows, parent, bodies, make) {
  dropRows(rows, new Set(bodies.map(({ id }) => id)));
  return bodies.map((body) => {
    let row = rows.get(body.id);
    if (!row) {
      row = make(body);
      rows.set(body.id, row);
      parent.append(row.element);
    }
    return [row, body];
  });
}

/** Only the rows of these ids stay. @param {Map<string, {element: Element}>} rows @param {Set<string>} ids */
export function dropRows(rows, ids) {
  for (const [id, row] of rows) {
    if (ids.has(id)) continue;
    row.element.remove();
    rows.delete(id);
  }
}

/** Writing an equal text would still dirty the layout. @param {Node} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** @param {Element} node @param {string} name @param {string} value */
export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

const SVG = "http://www.w3.org/2000/svg";

/** A shape of the sprite in index.html; always beside a word, so hidden from screen readers. @param {string} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** @param {SVGElement} svg @param {string} name */
export function setIcon(svg, name) {
  const use = svg.querySelector("use");
  if (use) setAttribute(use, "href", `#icon-${name}`);
}

/** True where a key press is meant for a field. @param {EventTarget | null} target */
export function isField(target) {
  return target instanceof HTMLElement
    && (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement
      || (target instanceof HTMLInputElement && !["checkbox", "radio", "button"].includes(target.type)));
}
