/** Short notices with a way back, and the one polite live region. Never per datagram. */
import { element, icon, need, setText } from "../base/dom.js";

const SHOWN_MS = 8000;
const MAX_NOTICES = 3;

/** For screen readers only. @param {string} text */
export function announce(text) {
  setText(need("announce", HTMLElement), text);
}

/**
 * @param {string} text
 * @param {{label: string, run: () => void}} [action] such as Undo
 */
export function notify(text, action) {
  const list = need("notices", HTMLElement);
  const notice = element("div", { class: "notice" }, element("span", {}, text));
  const close = () => {
    clearTimeout(timer);
    notice.remove();
  };
  if (action) {
    const button = element("button", { type: "button" }, action.label);
    button.addEventListener("click", () => {
      close();
      action.run();
    });
    notice.append(button);
  }
  const dismiss = element("button", { type: "button", "aria-label": "Dismiss" }, icon("close"));
  dismiss.addEventListener("click", close);
  notice.append(dismiss);
  let timer = setTimeout(close, SHOWN_MS);
  // Nobody should lose an Undo that they are about to press.
  const hold = () => clearTimeout(timer);
  const release = () => {
    clearTimeout(timer);
    timer = setTimeout(close, SHOWN_MS);
  };
  notice.addEventListener("pointerenter", hold);
  notice.addEventListener("focusin", hold);
  notice.addEventListener("pointerleave", release);
  notice.addEventListener("focusout", release);
  list.append(notice);
  while (list.children.length > MAX_NOTICES) list.firstElementChild?.remove();
  announce(text);
}

/** @param {unknown} error @returns {string} what to tell somebody; a bug is thrown on */
export function saidBy(error) {
  if (error instanceof Error && "status" in error) return error.message;
  throw error;
}

/** Does something, and says that it is done or what the server had against it. @param {() => Promise<unknown>} action @param {string} done */
export async function attempt(action, done) {
  try {
    await action();
    notify(done);
  } catch (error) {
    notify(saidBy(error));
  }
}
