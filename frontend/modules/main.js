/** Puts the page together: the world, the clock, the feed, and the parts that look at them. */
import { AddDialog } from "./dialogs/add.js";
import { Address, VIEWS } from "./base/address.js";
import { Asking } from "./feed/asking.js";
import { AttentionList } from "./views/attention.js";
import { Banner, conditionOf } from "./views/banner.js";
import { Chosen } from "./views/chosen.js";
import { Clock } from "./feed/clock.js";
import { Controls } from "./views/controls.js";
import { followCopies } from "./dialogs/code.js";
import { atNode } from "./base/node.js";
import { NodeChips } from "./views/nodes.js";
import { need, setAttribute, setText } from "./base/dom.js";
import { Drawer, isClient } from "./views/drawer.js";
import { EndpointsView } from "./views/endpoints.js";
import { followTerms } from "./dialogs/explain.js";
import { followHelp } from "./dialogs/help.js";
import { Feed } from "./feed/feed.js";
import { Moment } from "./feed/moment.js";
import { OverTime } from "./feed/overtime.js";
import { count } from "./base/format.js";
import { showLanesKey, showWallKey } from "./draw/key.js";
import { followKeys } from "./base/keys.js";
import { Lanes } from "./views/lanes.js";
import { LinkDialog } from "./dialogs/linkdialog.js";
import { followMotion, followReducedMotion } from "./dialogs/motion.js";
import { notify } from "./dialogs/notices.js";
import { keepPreferences, readPreferences } from "./base/preferences.js";
import { Recordings } from "./dialogs/recordings.js";
import { RemoveDialog, removeWithUndo } from "./dialogs/remove.js";
import { RunPanel } from "./views/run.js";
import { followSaves } from "./base/save.js";
import { ServerView } from "./views/server.js";
import { applyFrame, applyMessage, emptyWorld } from "./feed/state.js";
import { Summary } from "./views/summary.js";
import { followSystemTheme, onThemeChange } from "./draw/theme.js";
import { followThemeButton } from "./dialogs/theme.js";
import { Timeline } from "./views/timeline.js";
import { followViewLinks, showView } from "./views/viewlinks.js";
import { Wall } from "./views/wall.js";
import { welcome } from "./dialogs/welcome.js";

/** A crowd opens on the wall. */
const CROWD = 100;

const preferences = readPreferences();
const address = new Address();
export const world = emptyWorld();
export const clock = new Clock(() => asking.painted());
const moment = new Moment(world, () => {
  chosen.forget();
  moment.show(address.place.open, address.place.session);
  drawer.follow(address.place);
  clock.tickNow();
  showCondition();
});
export const feed = new Feed(new URL(atNode("ws/live"), location.href).href.replace(/^http/, "ws"), {
  message: (message) => {
    if (moment.kept) return;
    if (message.type === "hello" && world.hello && world.hello.instance !== message.instance) notify("The server was restarted. Its counts start at zero");
    applyMessage(world, message);
    if (message.type === "hello") welcome(message);
    if (message.type === "status" && message.clients.total > CROWD) address.suggestView("wall");
  },
  frame: (frame) => {
    if (moment.kept) return;
    applyFrame(world, frame);
    clock.dataArrived();
    moment.frameArrived(frame);
  },
  changed: () => {
    clock.tickNow();
    showCondition();
  },
});

const motion = () => preferences.motion;
const addDialog = new AddDialog({ added: () => endpoints.refresh() });
const linkDialog = new LinkDialog(world);
const removeDialog = new RemoveDialog(world);
const open = (/** @type {string} */ id) => address.go({ open: id, session: "" });
const openSession = (/** @type {string} */ id) => address.go({ open: "", session: id });
const close = () => address.go({ open: "", session: "", tab: "overview", compare: "" });

/** @type {number[]} */ let sighted = [];
const lanes = new Lanes(world, {
  open,
  remove: (id) => void removeWithUndo(id),
  openDatagram: (id, number) => {
    address.go({ open: id, session: "", tab: "datagrams" });
    drawer.look(number);
  },
  sort: (column) => address.adjust({ order: column }),
  motion,
  sighted: (slots) => { sighted = slots; },
});
const wall = new Wall(world, { open, motion });
const server = new ServerView(world, { openSession, openClient: open });
const endpoints = new EndpointsView({ open, add: (kind) => addDialog.open(kind), show: (words) => address.go({ view: "lanes", find: words }) });
const summary = new Summary(world, {
  showLosing: () => address.adjust({ order: "loss" }),
  showSilent: () => address.adjust({ order: "trouble" }),
  openLink: () => linkDialog.open(),
});
const attention = new AttentionList(world, {
  open,
  showAll: () => address.go({ view: address.place.view === "wall" ? "wall" : "lanes", find: "", order: "trouble" }),
});
const overTime = new OverTime({ changed: rangeChanged, paused: () => moment.paused, nowUnixMs: () => (moment.paused ? moment.atUnixMs : Date.now()) });
const followers = [new RunPanel((words) => address.go({ view: "lanes", find: words })), new Recordings()];
const timeline = new Timeline(overTime, (events) => followers.forEach((one) => one.eventsCame(events)));
const drawer = new Drawer(world, overTime, moment, { close, remove: (id) => void removeWithUndo(id), tab: (tab) => address.adjust({ tab }) });
const banner = new Banner({ retry: () => feed.retryNow(), resume: () => pause(false) });

function rangeChanged() {
  const { held } = overTime;
  address.adjust({ from: held ? held.from.toFixed(1) : "", to: held ? held.to.toFixed(1) : "" });
}

// --- what is shown, and what is asked for ---------------------------------------------------------------------------------------------

const chosen = new Chosen(world, (slots) => {
  lanes.setOrder(slots);
  wall.setOrder(slots);
});
const asking = new Asking(world, feed, clock, () => {
  const { view, find, open: client, session } = address.place;
  const sessions = view === "server";
  return {
    paused: moment.paused, rows: view === "lanes" ? sighted : [], drawer: drawer.slot, eager: motion() !== "calm" || drawer.isOpen,
    client: isClient(client) ? client : null, session: session || null, sessions, find: sessions ? find.trim() : "",
  };
});

clock.add({
  tick: () => {
    chosen.tick(address.place);
    summary.tick();
    attention.tick();
    server.tick();
    endpoints.tick(address.place.find);
    drawer.tick();
    if (moment.paused) drawer.live();
    linkDialog.tick();
    overTime.tick();
  },
  live: () => drawer.live(),
});
clock.add(lanes);
clock.add(wall);

// --- pause, condition -----------------------------------------------------------------------------------------------------------------

/** @param {boolean} paused */
function pause(paused) {
  if (paused) {
    moment.begin();
    const kept = asking.askForAll(chosen.slots);
    if (chosen.slots.length > kept) notify(`The lanes of ${count(kept)} clients are kept. Of the others, only colours, figures and states are kept`);
  } else {
    moment.end();
    // What came meanwhile was not applied: everything is told anew.
    feed.restart();
  }
  const button = need("pause", HTMLButtonElement);
  setAttribute(button, "aria-pressed", String(paused));
  const use = button.querySelector("use");
  if (use) setAttribute(use, "href", paused ? "#icon-play" : "#icon-paused");
  const word = button.querySelector("span");
  if (word) setText(word, paused ? "Resume" : "Pause");
  clock.tickNow();
  showCondition();
}

let seen = { frames: 0, missed: 0 };
let shownOneIn = 1;

function showCondition() {
  banner.show(conditionOf({
    feed: feed.state, answered: feed.answered, lastFrameUnixMs: feed.lastFrameUnixMs, retryAtUnixMs: feed.retryAtUnixMs, reason: feed.reason,
    needsToken: feed.needsToken,
    paused: moment.kept, pausedAtUnixMs: moment.atUnixMs, framesPerS: clock.framesPerS, eager: motion() !== "calm" && !document.hidden, shownOneIn,
    serverState: world.status?.server.state ?? "running", nowUnixMs: Date.now(),
  }));
}
setInterval(() => {
  const frames = world.frames - seen.frames;
  const missed = world.framesMissed - seen.missed;
  if (frames > 0) shownOneIn = Math.round((frames + missed) / frames);
  seen = { frames: world.frames, missed: world.framesMissed };
  showCondition();
}, 500);

// --- controls -------------------------------------------------------------------------------------------------------------------------

const controls = new Controls(address);
need("pause", HTMLButtonElement).addEventListener("click", () => pause(!moment.paused));
need("add-open", HTMLButtonElement).addEventListener("click", () => addDialog.open(address.place.view === "endpoints" ? "receivers" : undefined));
need("empty-add", HTMLButtonElement).addEventListener("click", () => addDialog.open());
followViewLinks((view) => address.go({ view }));
need("link-open", HTMLButtonElement).addEventListener("click", () => linkDialog.open());
need("remove-open", HTMLButtonElement).addEventListener("click", () => removeDialog.open(chosen.slots, address.place.find));

const help = followHelp(preferences);
followTerms();
followCopies();
followSaves();

const showKeys = () => {
  showLanesKey(motion());
  showWallKey(address.place.lens, motion());
  clock.tickNow();
};
followMotion(preferences, () => {
  keepPreferences(preferences);
  showKeys();
});
followThemeButton(preferences);
onThemeChange(showKeys);
showKeys();
followSystemTheme();

followReducedMotion((less) => clock.reduceMotion(less));

followKeys({
  enabled: () => preferences.shortcuts,
  find: () => controls.find(),
  pause: () => pause(!moment.paused),
  lens: () => controls.nextLens(),
  help: () => help.showModal(),
  add: () => addDialog.open(),
  view: (index) => address.go({ view: VIEWS[index] ?? "lanes" }),
  escape: () => {
    if (!address.place.open && !address.place.session) return false;
    close();
    return true;
  },
});

address.follow((place) => {
  const [from, to] = [Number(place.from), Number(place.to)];
  const asked = place.from !== "" && place.to !== "" && from < to ? { from, to } : null;
  if (asked?.from !== overTime.held?.from || asked?.to !== overTime.held?.to) overTime.show(asked);
  timeline.showRange();
  controls.follow(place);
  if (wall.lens !== place.lens) showWallKey(place.lens, motion());
  wall.lens = place.lens;
  wall.spotlight = place.spotlight;
  showView(place.view);
  moment.show(place.open, place.session);
  drawer.follow(place);
  lanes.markOpen(place.open);
  wall.markOpen(place.open);
  lanes.markOrder(place.order);
  document.title = `${place.view === "lanes" ? "" : `${place.view} · `}udprism`;
  chosen.forget();
  clock.tickNow();
});

// The drawer begins below the header where there is room for both.
new ResizeObserver(([entry]) => document.documentElement.style.setProperty("--top-px", `${Math.round(entry?.borderBoxSize[0]?.blockSize ?? 0)}px`))
  .observe(need("top", HTMLElement));

document.documentElement.dataset.started = "true";
new NodeChips().start();
feed.start();
clock.start();
