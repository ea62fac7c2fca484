// Requests to our own server, in the page's language and without cookies.

export const ask = (url, options = {}) => fetch(url, {
  credentials: "omit",
  cache: "no-store",
  ...options,
  headers: { "Accept-Language": document.documentElement.lang, ...options.headers },
});

export const post = (url, values, headers = {}) =>
  ask(url, { method: "POST", body: JSON.stringify(values), headers: { "Content-Type": "application/json", ...headers } });

// Why a request was refused; nothing where something between us and the server has answered.
export const problemOf = (response) => response.json().catch(() => ({}));
