// Signing in, and calling the API with a token that is kept fresh.
import { $ } from "./care.js";

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || String(status));
    this.status = status;
    this.code = problem.code || "";
  }
}

async function call(path, method, body, token, further = {}) {
  const headers = { Accept: "application/json", ...further };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const document = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, document);
  return document;
}

// The tokens of this tab: they survive a reload and end with the tab.
export class Session {
  constructor(name) {
    this.key = `sri-care:${name}`;
    this.tokens = JSON.parse(sessionStorage.getItem(this.key) || "null");
    this.refreshing = null;
    this.onEnd = () => {};
  }

  get user() {
    return this.tokens && this.tokens.user;
  }

  async signIn(identifier, password) {
    const who = identifier.includes("@") ? { email: identifier } : { phone: identifier };
    const answer = await call("/api/auth/login", "POST", { ...who, password });
    if (answer.mfa_required) return answer;
    this.keep(answer);
    return null;
  }

  async confirm(mfaToken, code) {
    this.keep(await call("/api/auth/login/mfa", "POST", { mfa_token: mfaToken, code }));
  }

  keep(tokens) {
    this.tokens = { ...this.tokens, ...tokens };
    sessionStorage.setItem(this.key, JSON.stringify(this.tokens));
  }

  end() {
    this.tokens = null;
    sessionStorage.removeItem(this.key);
    this.onEnd();
  }

  // One refresh at a time: a refresh token counts once.
  refresh() {
    this.refreshing ||= call("/api/auth/refresh", "POST", { refresh_token: this.tokens.refresh_token })
      .then((answer) => this.keep(answer))
      .catch((error) => {
        if (error instanceof Refused && error.status < 500 && error.status !== 429) this.end();
        throw error;
      })
      .finally(() => (this.refreshing = null));
    return this.refreshing;
  }

  async api(path, method = "GET", body = undefined, headers = {}) {
    try {
      return await call(path, method, body, this.tokens.access_token, headers);
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 401) throw error;
      await this.refresh();
      return call(path, method, body, this.tokens.access_token, headers);
    }
  }
}

// The sign-in form, with a second factor when the account has one.
export function wireSignIn(session, say, entered) {
  let pending = null;
  $("sign-in").addEventListener("submit", async (event) => {
    event.preventDefault();
    $("sign-in-error").textContent = "";
    try {
      if (pending) await session.confirm(pending, $("code").value.trim());
      else {
        const more = await session.signIn($("identifier").value.trim(), $("password").value);
        if (more) {
          pending = more.mfa_token;
          $("code-row").hidden = false;
          $("code").focus();
          return;
        }
      }
      session.keep({ user: await session.api("/api/auth/me") });
      pending = null;
      $("code-row").hidden = true;
      $("password").value = $("code").value = "";
      entered();
    } catch (error) {
      $("sign-in-error").textContent = error instanceof Refused ? error.message : say("no_connection");
    }
  });
}
