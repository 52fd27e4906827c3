// Buttons that ask once and then send a request to the API: <button data-request="DELETE /api/bot/x" …>.
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
    if (!(await ask(data.title, data.text, button.textContent))) return;
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

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-request]");
    if (button && !button.disabled) send(button);
  });
})();
