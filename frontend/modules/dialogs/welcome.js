/** What the server says first of itself: names, formats and limits that nobody but the server knows. */
import { need, setText } from "../base/dom.js";
import { limitFields } from "../base/form.js";
import { learnNames } from "../draw/names.js";
import { learnFormats } from "../feed/kinds.js";
import { showJoin } from "./code.js";

/** @param {import("../feed/messages.js").Hello} hello */
export function welcome(hello) {
  learnNames(hello.palette.names);
  learnFormats(hello.formats);
  limitFields(hello.limits);
  showJoin(hello.udp);
  setText(need("help-version", HTMLElement), `udprism ${hello.version}`);
}
