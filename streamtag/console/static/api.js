// The HTTP API, as the signed-in person. Every failure is a `Problem` that says what to do next.

let csrf = null;

/** What the API answers instead of a result (RFC 9457), or that it does not answer at all. */
export class Problem extends Error {
  constructor(status, { title = "failed", detail = "", hint = "", problems = [] }) {
    super(detail || title);
    Object.assign(this, { status, title, detail, hint, problems });
  }
}

async function call(method, path, body, { headers = {}, signal } = {}) {
  const sent = { accept: "application/json", ...headers };
  if (body !== undefined) sent["content-type"] = "application/json";
  if (method !== "GET" && csrf) sent["x-csrf-token"] = csrf;
  let response;
  try {
    response = await fetch(path, { method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { title: "no answer", detail: "The API does not answer.", hint: "Is `streamtag api` running?" });
  }
  const found = response.status === 204 ? null : await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(response.status, found);
  return { body: found, etag: response.headers.get("etag") };
}

export const api = {
  get: async (path, options) => (await call("GET", path, undefined, options)).body,
  /** With the ETag: {body, etag}. */
  read: (path, options) => call("GET", path, undefined, options),
  post: async (path, body, options) => (await call("POST", path, body, options)).body,
  patch: async (path, body, options) => (await call("PATCH", path, body, options)).body,
  put: async (path, body, options) => (await call("PUT", path, body, options)).body,
  delete: async (path, options) => (await call("DELETE", path, undefined, options)).body,
};

/** Of questions that follow each other: begins one, and gives whether it is the newest still. Answers may overtake. */
export const turns = () => {
  let newest = 0;
  return () => { const mine = ++newest; return () => mine === newest; };
};

/** Who is signed in; null: nobody. */
export async function session() {
  try {
    const found = await api.get("/v1/session");
    csrf = found.csrf;
    return found;
  } catch (error) {
    if (error.status === 401) return null;
    throw error;
  }
}

export async function signIn(token) {
  const found = await api.post("/v1/session", { token });
  csrf = found.csrf;
  return found;
}

/** Ends the session; throws where somebody may still be signed in. */
export async function signOut() {
  await end().catch(async (problem) => {
    if (problem.status !== 403) throw problem;
    if ((await session()) !== null) await end(); // another tab has signed in anew: the session is another, and its csrf
  });
  csrf = null;
}

const end = () => api.delete("/v1/session").catch((problem) => { if (problem.status !== 401) throw problem; });

const ROLES = ["viewer", "reviewer", "operator", "admin"];

/** Whether somebody with `who.role` may do what needs `role`. */
export const may = (who, role) => ROLES.indexOf(who.role) >= ROLES.indexOf(role);
