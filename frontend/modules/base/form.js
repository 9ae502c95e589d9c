/** What a dialog's form says, and what the server refused, beside the field at fault. */

/** @typedef {Record<string, string | number | boolean | null>} Values */

/**
 * The fields by name: texts without spaces around them; numbers, or null where there is none; whether a box is checked.
 * @param {HTMLFormElement} form
 * @returns {Values}
 */
export function valuesOf(form) {
  /** @type {Values} */
  const values = {};
  for (const field of form.elements) {
    if (!(field instanceof HTMLInputElement || field instanceof HTMLSelectElement)) continue;
    const text = field.value.trim();
    if (field.type === "checkbox") values[field.name] = /** @type {HTMLInputElement} */ (field).checked;
    else values[field.name] = field.type !== "number" ? text : text === "" ? null : Number(text);
  }
  return values;
}

/** @typedef {{name_characters: number, rate_hz: [number, number], colours: [number, number]}} Limits of what a client may be */

/**
 * Every form's fields of these names take what the server takes.
 * @param {Limits} limits
 */
export function limitFields(limits) {
  for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("form input[name]"))) {
    if (input.name === "name") input.maxLength = limits.name_characters;
    if (input.name === "rate_hz" || input.name === "colours") [input.min, input.max] = [String(limits[input.name][0]), String(limits[input.name][1])];
  }
}

/**
 * The field at fault gets the focus and the text beside it; what is no field's fault is said at the top. "" takes all of it away.
 * @param {HTMLFormElement} form @param {string} field @param {string} text
 */
export function showError(form, field, text) {
  const places = [...form.querySelectorAll("[data-error]")];
  const beside = places.find((place) => text && place.getAttribute("data-error") === field) ?? places[0];
  for (const place of places) place.textContent = place === beside ? text : "";
  for (const input of form.querySelectorAll("input, select, textarea")) {
    const wrong = text !== "" && input.getAttribute("name") === field;
    if (!wrong) {
      input.removeAttribute("aria-invalid");
      continue;
    }
    input.setAttribute("aria-invalid", "true");
    /** @type {HTMLElement} */ (input).focus();
  }
}
