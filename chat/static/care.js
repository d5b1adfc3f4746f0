// What both pages stand on: signing in, the API, the socket, and a conversation that misses and doubles nothing.
import { io } from "./socket.io.esm.min.js";

const GIVE_UP = new Set(["validation_failed", "conversation_closed", "not_found", "forbidden", "agent_at_capacity"]);

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || String(status));
    this.status = status;
    this.code = problem.code || "";
  }
}

async function call(path, method, body, token) {
  const headers = { Accept: "application/json" };
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

  async api(path, method = "GET", body = undefined) {
    try {
      return await call(path, method, body, this.tokens.access_token);
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 401) throw error;
      await this.refresh();
      return call(path, method, body, this.tokens.access_token);
    }
  }
}

// The socket. Threads are caught up after every (re)connection, then what was written meanwhile is sent.
export class Line {
  constructor(session) {
    this.session = session;
    this.threads = new Map();
    this.onState = () => {};
    this.socket = io("/chat", {
      path: "/api/chat/socket.io",
      transports: ["websocket", "polling"],
      auth: (give) => give({ token: session.tokens ? session.tokens.access_token : "" }),
      reconnectionDelay: 300,
      reconnectionDelayMax: 3000,
    });
    this.socket.on("connect", () => {
      this.onState(true);
      this.threads.forEach((thread) => thread.catchUp());
    });
    this.socket.on("disconnect", (reason) => {
      this.onState(false);
      if (reason === "io server disconnect") this.again();
    });
    this.socket.on("connect_error", (error) => {
      this.onState(false);
      if (error.data && error.data.code) this.again(error.data.code);
    });
    this.socket.on("message:new", (message) => this.of(message, (thread) => thread.receive(message)));
    this.socket.on("conversation:updated", (data) => this.threads.get(data.id)?.update(data));
    this.socket.on("message:read", (mark) => this.of(mark, (thread) => thread.read(mark)));
    this.socket.on("typing", (data) => this.of(data, (thread) => thread.typing(data)));
    this.socket.on("queue:position", (place) => this.of(place, (thread) => thread.place(place)));
    this.renewal = setInterval(() => this.renew(), 60_000);
  }

  of(data, work) {
    const thread = this.threads.get(data.conversation_id);
    if (thread) work(thread);
  }

  // The client library does not come back by itself after a refusal: do, with a fresh token when that was the reason.
  async again(code = "unauthorized") {
    await new Promise((wake) => setTimeout(wake, 500 + Math.random() * 500));
    if (!this.session.tokens) return;
    try {
      if (code === "unauthorized") await this.session.refresh();
    } catch {
      if (this.session.tokens) this.again(code);
      return;
    }
    this.socket.connect();
  }

  // A fresh token in place, a while before the old one expires.
  async renew() {
    if (!this.session.tokens || !this.socket.connected) return;
    const claims = JSON.parse(atob(this.session.tokens.access_token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    if (claims.exp * 1000 - Date.now() > 180_000) return;
    try {
      await this.session.refresh();
      await this.ask("auth:refresh", { token: this.session.tokens.access_token });
    } catch {
      // the next minute, or the server's disconnect, tries again
    }
  }

  async ask(event, payload) {
    return this.socket.timeout(8000).emitWithAck(event, payload);
  }

  close() {
    clearInterval(this.renewal);
    this.threads.clear();
    this.socket.disconnect();
  }
}

// One conversation as this page has it: `seq` is gapless, so what is missing is known and fetched.
export class Thread {
  constructor(line, id, changed) {
    Object.assign(this, { line, id, changed, have: 0, conversation: null, queue: null });
    this.messages = new Map();
    this.reads = new Map();
    this.typers = new Map();
    this.key = `sri-care:outbox:${line.session.user.id}:${id}`;
    this.outbox = JSON.parse(localStorage.getItem(this.key) || "[]");
    this.busy = this.sending = this.behind = false;
    line.threads.set(id, this);
    if (line.socket.connected) this.catchUp();
  }

  get list() {
    return [...this.messages.values()].sort((a, b) => a.seq - b.seq);
  }

  async catchUp() {
    if (this.busy) {
      this.behind = true;
      return;
    }
    this.busy = true;
    try {
      do {
        this.behind = false;
        const answer = await this.line.ask("conversation:join", { conversation_id: this.id, after_seq: this.have });
        if (!answer.ok) break;
        answer.messages.forEach((message) => this.take(message));
        answer.read.forEach((mark) => this.reads.set(mark.user_id, mark.seq));
        this.conversation = answer.conversation;
        this.queue = answer.conversation.queue;
        this.behind ||= answer.has_more;
      } while (this.behind);
    } catch {
      // no answer: the connection broke, and the next one catches up
    }
    this.busy = false;
    this.changed(this);
    this.flush();
  }

  take(message) {
    this.messages.set(message.seq, message);
    while (this.messages.has(this.have + 1)) this.have += 1;
    this.keep(this.outbox.filter((wish) => wish.id !== message.client_message_id));
  }

  receive(message) {
    this.take(message);
    this.typers.delete(message.sender.id);
    if (message.seq > this.have) this.catchUp();
    this.changed(this);
  }

  update(conversation) {
    this.conversation = conversation;
    if (conversation.state !== "queued") this.queue = null;
    if (conversation.last_seq > this.have) this.catchUp();
    this.changed(this);
  }

  read(mark) {
    this.reads.set(mark.user_id, mark.seq);
    this.changed(this);
  }

  typing({ user_id: user, active }) {
    clearTimeout(this.typers.get(user));
    this.typers.delete(user);
    if (active) {
      this.typers.set(user, setTimeout(() => { this.typers.delete(user); this.changed(this); }, 6000));
    }
    this.changed(this);
  }

  place(place) {
    this.queue = place;
    this.changed(this);
  }

  keep(outbox) {
    this.outbox = outbox;
    if (outbox.length) localStorage.setItem(this.key, JSON.stringify(outbox));
    else localStorage.removeItem(this.key);
  }

  say(body) {
    this.keep([...this.outbox, { id: crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}`, body }]);
    this.changed(this);
    this.flush();
  }

  // In the order in which it was written, each with its id until it is answered: repeated, never doubled.
  async flush() {
    if (this.sending) return;
    this.sending = true;
    let wish;
    while (this.line.socket.connected && (wish = this.outbox.find((one) => !one.refused))) {
      try {
        const payload = { conversation_id: this.id, client_message_id: wish.id, body: wish.body };
        const answer = await this.line.ask("message:send", payload);
        if (answer.ok) this.take(answer.message);
        else if (GIVE_UP.has(answer.code)) this.refuse(wish, answer.detail);
        else if (answer.code === "not_joined") await this.line.ask("conversation:join", { conversation_id: this.id, after_seq: this.have });
        else await new Promise((wake) => setTimeout(wake, 1000));
        this.changed(this);
      } catch {
        await new Promise((wake) => setTimeout(wake, 500));
      }
    }
    this.sending = false;
    if (this.messages.size && Math.max(...this.messages.keys()) > this.have) this.catchUp();
  }

  refuse(wish, detail) {
    this.keep(this.outbox.map((one) => (one.id === wish.id ? { ...one, refused: detail } : one)));
  }

  forget(id) {
    this.keep(this.outbox.filter((wish) => wish.id !== id));
    this.changed(this);
  }

  markRead() {
    const own = this.reads.get(this.line.session.user.id) || 0;
    if (this.have <= own || !this.line.socket.connected || document.hidden) return;
    this.reads.set(this.line.session.user.id, this.have);
    this.line.ask("message:read", { conversation_id: this.id, seq: this.have }).catch(() => this.reads.set(this.line.session.user.id, own));
  }

  close() {
    this.line.threads.delete(this.id);
  }
}

// Elements are made here and filled as text: nothing that anybody wrote is ever parsed as HTML.
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export const $ = (id) => document.getElementById(id);
export const clockTime = (instant) => new Date(instant).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
export const rupees = (money) =>
  money ? `${money.currency} ${(money.amount_minor / 100).toLocaleString("en", { minimumFractionDigits: 2 })}` : "–";

// Bubbles of a thread into a list; what is there already stays, so that screen readers hear only what is new.
export function showMessages(list, thread, say) {
  const mine = thread.line.session.user.id;
  const others = Math.max(0, ...[...thread.reads].filter(([user]) => user !== mine).map(([, seq]) => seq));
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  const wanted = [
    ...thread.list.map((message) => ({
      key: `s${message.seq}`,
      side: message.sender.id === mine ? "mine" : message.sender.role,
      who: message.sender.id === mine ? say("you") : message.sender.name || say(message.sender.role),
      body: message.body,
      foot: clockTime(message.created_at) + (message.sender.id === mine && message.seq <= others ? ` · ${say("read")}` : ""),
    })),
    ...thread.outbox.map((wish) => ({
      key: `w${wish.id}`, side: wish.refused ? "mine refused" : "mine waiting", who: say("you"), body: wish.body,
      foot: wish.refused || say("unsent"), drop: wish.refused && wish.id,
    })),
  ];
  const before = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const keys = new Set(wanted.map((one) => one.key));
  before.forEach((item, key) => keys.has(key) || item.remove());
  wanted.forEach((one, index) => {
    let item = before.get(one.key);
    if (!item) {
      item = element("li", { class: `message ${one.side}` },
        element("span", { class: "who", text: one.who }),
        element("p", { class: "body", dir: "auto", text: one.body }),
        element("span", { class: "foot" }));
      item.dataset.key = one.key;
      if (one.drop) item.append(element("button", { type: "button", class: "quiet", text: say("discard"), onclick: () => thread.forget(one.drop) }));
    }
    if (item.lastChild.className === "foot" && item.lastChild.textContent !== one.foot) item.lastChild.textContent = one.foot;
    else if (item.querySelector(".foot").textContent !== one.foot) item.querySelector(".foot").textContent = one.foot;
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] || null);
  });
  if (atEnd) list.scrollTop = list.scrollHeight;
}

// A text field that sends with Enter and tells the others that somebody writes.
export function wireComposer(form, field, current) {
  let told = 0;
  const typing = (active) => {
    const thread = current();
    if (thread && thread.line.socket.connected) thread.line.socket.emit("typing", { conversation_id: thread.id, active });
  };
  field.addEventListener("input", () => {
    if (field.value && Date.now() - told > 3000) {
      told = Date.now();
      typing(true);
    }
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const body = field.value.trim();
    const thread = current();
    if (!body || !thread) return;
    field.value = "";
    told = 0;
    typing(false);
    thread.say(body);
    field.focus();
  });
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
