// The proof of work (ALTCHA, version 2): finds the counter whose derived key begins with the wanted digits. Every key is
// derived by the browser's own cryptography beside the page's thread, a few at a time, so that the page stays responsive.
const AT_ONCE = 4;
// How many keys it takes: our server chooses the counter and names a long beginning of its key.
const USUAL = 1200;
const HASHES = { "PBKDF2/SHA-256": "SHA-256", "PBKDF2/SHA-384": "SHA-384", "PBKDF2/SHA-512": "SHA-512" };

const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");

async function derive({ nonce, salt, cost, keyLength, hash }, counter) {
  const password = new Uint8Array(nonce.length + 4);
  password.set(nonce);
  new DataView(password.buffer).setUint32(nonce.length, counter);
  const key = await crypto.subtle.importKey("raw", password, "PBKDF2", false, ["deriveBits"]);
  return hex(await crypto.subtle.deriveBits({ name: "PBKDF2", hash, salt, iterations: cost }, key, keyLength * 8));
}

// Whether this browser can do it: only pages over https (or of this machine) may use the cryptography.
export const isPossible = () => Boolean(globalThis.crypto?.subtle);

// For how many milliseconds from now a challenge may be used, with some to spare. The server's own clock says so, for the
// visitor's may be wrong.
export const lifetime = ({ parameters: { expiresAt } }, now) => {
  const left = expiresAt * 1000 - Date.parse(now ?? "");
  return Number.isFinite(left) ? left - 15000 : Infinity;
};

// Resolves with {challenge, payload}; `progress` is told a share from 0 to 1, a guess that only grows.
export async function solve(challenge, progress = () => {}) {
  const { algorithm, nonce, salt, cost, keyLength = 32, keyPrefix } = challenge.parameters;
  const hash = HASHES[algorithm];
  if (!hash) throw new Error(`unknown algorithm ${algorithm}`);
  const task = { nonce: bytes(nonce), salt: bytes(salt), cost, keyLength, hash };
  const [began, expected] = [performance.now(), Math.min(16 ** keyPrefix.length, USUAL)];
  for (let first = 0; ; first += AT_ONCE) {
    const counters = Array.from({ length: AT_ONCE }, (_, step) => first + step);
    const keys = await Promise.all(counters.map((counter) => derive(task, counter)));
    const found = keys.findIndex((key) => key.startsWith(keyPrefix));
    if (found >= 0) {
      progress(1);
      const solution = { counter: counters[found], derivedKey: keys[found], time: performance.now() - began };
      return { challenge, payload: btoa(JSON.stringify({ challenge, solution })) };
    }
    progress(1 - Math.exp(-first / expected));
  }
}
