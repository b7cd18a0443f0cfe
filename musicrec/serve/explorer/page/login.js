// The token: taken from the address that the command prints, or asked for once. The service keeps a cookie for it.

import { at } from "./dom.js";
import { read, send } from "./service.js";

const KEY = "#token=";

/** Resolve as soon as the service answers this browser. */
export async function enter() {
  const { hash } = location;
  if (hash.startsWith(KEY)) {
    history.replaceState(null, "", location.pathname); // a token is nothing for the history
    await send("login", { token: decodeURIComponent(hash.slice(KEY.length)) }).catch(() => {});
  }
  if (!(await read("login")).is_let_in) await asked();
}

function asked() {
  at("login").hidden = false;
  at("token").focus();
  return new Promise((resolve) => {
    at("login-form").addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        await send("login", { token: at("token").value });
      } catch (error) {
        at("login-wrong").textContent = error.message;
        return;
      }
      at("login").hidden = true;
      resolve();
    });
  });
}
