// Requests to the service that this page belongs to.

const ROOT = new URL("../", import.meta.url);

/** Address of something that the service has. */
export const addressOf = (path) => new URL(path, ROOT);

/** Path of what belongs to a song. */
export const pathOf = (id, what) => `songs/${encodeURIComponent(id)}/${what}`;

/** Ask the service; throw an Error with its one line if it refuses. */
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(addressOf(path), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service does not answer. Is musicrec explore still running?");
  }
  if (response.status === 401 && path !== "login") document.dispatchEvent(new CustomEvent("token-needed"));
  if (!response.ok) throw new Error(await complaint(response));
  return response;
}

/** Ask the service for JSON. */
export const read = async (path, options) => (await ask(path, options)).json();

/** Send JSON to the service. */
export const send = (path, content) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(content) });

async function complaint(response) {
  const said = await response.json().catch(() => ({}));
  return said.error ?? `The service answered ${response.status}.`;
}
