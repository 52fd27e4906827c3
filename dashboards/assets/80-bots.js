// Buttons that ask once and then send a request to the API: <button data-request="DELETE /api/bot/x" …>; and what
// is typed into a bot's form, which is not lost without a question.
(function () {
  "use strict";
  const S = window.tcpShell;

  function element(name, text, className) {
    const found = document.createElement(name);
    found.textContent = text || "";
    if (className) found.className = className;
    return found;
  }

  // Resolves to whether the reader agreed. Escape and a click on Cancel say no.
  function ask(title, text, label) {
    return new Promise((resolve) => {
      const dialog = element("dialog", "", "ask");
      const heading = element("h2", title);
      heading.id = "ask-title";
      dialog.setAttribute("aria-labelledby", heading.id);
      const no = element("button", "Cancel", "button");
      const yes = element("button", label, "button danger");
      const actions = element("div", "", "actions end");
      actions.append(no, yes);
      dialog.append(heading, element("p", text), actions);
      no.addEventListener("click", () => dialog.close(""));
      yes.addEventListener("click", () => dialog.close("yes"));
      dialog.addEventListener("close", () => {
        dialog.remove();
        resolve(dialog.returnValue === "yes");
      });
      document.body.append(dialog);
      dialog.showModal();
      no.focus();
    });
  }

  async function send(button) {
    const data = button.dataset;
    const [method, address] = data.request.split(" ");
    const lost = typed() ? " What was typed into the form, and not saved, is lost." : "";
    if (!(await ask(data.title, data.text + lost, button.textContent))) return;
    button.disabled = true;
    try {
      const options = { method };
      if (data.body) Object.assign(options, { body: data.body, headers: { "content-type": "application/json" } });
      const answer = await fetch(address, options);
      if (!answer.ok) throw new Error((await answer.json()).detail);
      S.toast(data.done);
      window.dash_clientside.set_props("bots-changed", { data: data.request + " " + Date.now() });
    } catch (error) {
      S.toast("Nothing was done: " + error.message, true);
    } finally {
      button.disabled = false;
    }
  }

  function typed() { return S.typedInto(".bot-form"); }

  function forget() {
    document.querySelectorAll(".bot-form").forEach((form) => delete form.dataset.typed);
  }

  // Whatever would draw another view is kept back, and done when the reader agrees. One question at a time.
  async function hold(event, go) {
    if (!typed()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (document.querySelector("dialog.ask")) return;
    if (!(await ask("Leave the form?", "What was typed into it is not saved.", "Leave it"))) return;
    forget();
    go();
  }

  function leads(event) {
    const link = event.target.closest("a[href]");
    const aside = event.ctrlKey || event.metaKey || event.shiftKey;
    if (!link || aside || link.target || link.download || link.getAttribute("href").startsWith("#")) return;
    hold(event, () => link.click());
  }

  // A choice of a list, and a step of a number, are no typing to a browser.
  function chosen(event) {
    const option = event.target.closest("[role=option]");
    const list = option && option.closest("[role=listbox]");
    const field = list ? document.querySelector('[aria-controls="' + list.id + '"]') : event.target;
    const form = field && field.closest(".bot-form");
    const arrow = ["ArrowUp", "ArrowDown"].includes(event.key) && field.matches(".mantine-NumberInput-input");
    if (form && (list || arrow || field.closest(".mantine-NumberInput-control"))) S.markTyped(form);
  }

  document.addEventListener("click", leads, true);
  document.addEventListener("click", chosen, true);
  document.addEventListener("keydown", chosen, true);
  document.addEventListener("tcp-step", (event) => {
    hold(event, () => document.dispatchEvent(new CustomEvent("tcp-step", { detail: event.detail })));
  }, true);
  window.addEventListener("beforeunload", (event) => { if (typed()) event.preventDefault(); });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-request]");
    if (button && !button.disabled) send(button);
  });
})();
