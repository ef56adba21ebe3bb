// The builder: what is typed while an answer is under way is kept, and nobody leaves unasked with unsaved work.
// Without script a page is asked for as a whole, and browsers keep neither promise; the buttons are the same.
"use strict";
{
  const ASIDE = new Set(["csrf_token", "workspace", "form_key", "version", "history", "op", "test-event_id", "test-record_id"]);
  const LOST = "That did not work just now. What you typed is still here: try again in a moment.";
  const OUT = "The answer was not this form: perhaps you are signed out. What you typed is still here. Sign in again in another tab, then try again.";
  const builder = () => document.getElementById("builder");
  const isMark = (field) => field.type === "checkbox" || field.type === "radio";
  const fields = (form) => [...form.elements].filter((field) => field.name && field.matches("input:not([type=hidden]), select, textarea"));

  // --- Unsaved work -------------------------------------------------------------------------------------
  const text = () => JSON.stringify([...new FormData(builder())].filter(([name]) => !ASIDE.has(name)));
  const stored = "unsaved" in builder().dataset ? null : text();
  const leaving = document.getElementById("leaving");
  let isGoing = false;
  const isUnsaved = () => !isGoing && text() !== stored;

  window.addEventListener("beforeunload", (event) => {
    if (isUnsaved()) event.preventDefault();
  });
  document.addEventListener("submit", (event) => {
    if (event.target === builder()) isGoing = true;
  });
  window.addEventListener("pageshow", () => { isGoing = false; });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    if (link.matches("[data-leave]")) {
      isGoing = true;
      return;
    }
    const isHere = link.getAttribute("href").startsWith("#") || link.target === "_blank" || link.hasAttribute("download");
    if (isHere || !isUnsaved()) return;
    event.preventDefault();
    leaving.querySelector("[data-leave]").href = link.href;
    leaving.showModal();
  });

  // --- What is typed meanwhile --------------------------------------------------------------------------
  const key = (field, name) => (isMark(field) ? `${name}=${field.value}` : name);
  const state = (field) => (isMark(field) ? String(field.checked)
    : field.matches("select") ? JSON.stringify([...field.selectedOptions].map((option) => option.value)) : field.value);

  // The name that a field had before: rows are numbered anew when one is added, moved or removed. Null for a new one.
  function nameBefore(field) {
    const step = field.closest("[data-step]");
    const row = field.closest("[data-row]");
    if (step?.dataset.step === "" || row?.dataset.row === "") return null;
    let name = field.name;
    if (step) name = name.replace(/^steps-\d+/, `steps-${step.dataset.step}`);
    if (row) name = name.replace(/if-\d+-\d+/, `if-${row.dataset.row}`);
    return name;
  }

  // The part of the form that holds `inside`, to find it again in the answer: a step, or a card with a name.
  function partOf(inside) {
    const part = inside.closest?.("li.rule-step, section[id]");
    if (!part) return null;
    const found = part.matches("li") ? `li[data-step="${Number(part.id.replace("step-", "")) - 1}"]` : `#${part.id}`;
    return { found, top: part.getBoundingClientRect().top };
  }

  // What was pressed stays where it is on the screen, unless the answer has put the cursor where nobody would see it.
  function stay(part) {
    const now = document.querySelector(`#builder ${part.found}`);
    if (now) window.scrollBy(0, now.getBoundingClientRect().top - part.top);
    const at = document.activeElement;
    if (at.matches("#builder [autofocus]") && !at.closest(".builder-foot")) at.scrollIntoView({ block: "nearest" });
  }

  function put(field, wanted) {
    if (isMark(field)) {
      field.checked = wanted === "true";
    } else if (field.matches("select")) {
      const chosen = new Set(JSON.parse(wanted));
      for (const option of field.options) option.selected = chosen.has(option.value);
    } else {
      field.value = wanted;
    }
  }

  function tell(words) {
    const notice = document.createElement("div");
    notice.className = "notice warning";
    notice.setAttribute("role", "alert");
    notice.id = "trouble";
    notice.textContent = words;
    document.getElementById("trouble")?.remove();
    document.querySelector(".builder-notices").append(notice);
    notice.scrollIntoView({ block: "nearest" });
  }

  // Signed out and in again in another tab: the answer holds the present session's token, and the same is asked once more.
  function renew(source, fresh) {
    const own = builder().elements.namedItem("csrf_token");
    if (fresh.value === own.value || "again" in source.dataset) return false;
    own.value = fresh.value;
    source.dataset.again = "";
    setTimeout(() => {
      if (source.matches("button")) source.click();
      else if (source.matches("select, input")) source.dispatchEvent(new Event("change", { bubbles: true }));
      delete source.dataset.again;
    }, 60);
    return true;
  }

  // Signed out: the answer would lead to the sign-in page, and take along what was typed.
  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    if (!builder().contains(ctx.sourceElement)) return;
    const fresh = ctx.text.includes('id="late"')
      && new DOMParser().parseFromString(ctx.text, "text/html").querySelector("#late input[name=csrf_token]");
    if (!fresh && !ctx.hx.redirect) return;
    event.preventDefault();
    if (!fresh || !renew(ctx.sourceElement, fresh)) tell(OUT);
  });

  document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
    if (ctx.target !== builder()) return;
    ctx.sent = new Map(fields(builder()).map((field) => [key(field, field.name), state(field)]));
    ctx.had = document.activeElement;
  });

  document.addEventListener("htmx:before:swap", (event) => {
    const { ctx } = event.detail;
    if (!ctx.sent || ctx.target !== builder()) return;
    if (!ctx.text.includes('id="builder"')) {
      event.preventDefault();
      tell(ctx.response.status >= 500 ? LOST : OUT);
      return;
    }
    ctx.typed = new Map();
    for (const field of fields(builder())) {
      const name = key(field, field.name);
      if (ctx.sent.has(name) && ctx.sent.get(name) !== state(field)) ctx.typed.set(name, state(field));
    }
    const at = document.activeElement;
    if (at.form === builder() && at.name && at !== ctx.had && at.matches("input, select, textarea")) {
      ctx.at = { name: key(at, at.name), from: at.selectionStart, to: at.selectionEnd, way: at.selectionDirection, top: at.scrollTop };
    }
    // htmx puts the new form beside the old: the browser would scroll to hold on to the old, and jump to the end
    document.documentElement.style.overflowAnchor = "none";
    ctx.part = partOf(ctx.sourceElement);
    // a text area that was made larger stays so
    ctx.tall = new Map(fields(builder()).filter((field) => field.style.height).map((field) => [field.name, field.style.height]));
  });

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    if (!ctx.typed) return;
    const changed = [];
    for (const field of fields(builder())) {
      const before = nameBefore(field);
      if (before === null) continue;
      const name = key(field, before);
      if (ctx.tall.has(before)) field.style.height = ctx.tall.get(before);
      if (ctx.typed.has(name) && state(field) !== ctx.typed.get(name)) {
        put(field, ctx.typed.get(name));
        changed.push(field);
      }
      if (ctx.at?.name === name) {
        field.focus({ preventScroll: true });
        if (ctx.at.from != null) field.setSelectionRange(ctx.at.from, ctx.at.to, ctx.at.way);
        field.scrollTop = ctx.at.top;
      }
    }
    if (ctx.part) stay(ctx.part);
    for (const field of changed) field.dispatchEvent(new Event(field.matches("select") ? "change" : "input", { bubbles: true }));
  });

  document.addEventListener("htmx:finally:swap", () => { document.documentElement.style.overflowAnchor = ""; });
  document.addEventListener("htmx:error", ({ detail: { ctx } }) => { if (ctx?.sent) tell(LOST); });
}
