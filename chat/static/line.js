// The socket.
import { io } from "./socket.io.esm.min.js";

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
      this.threads.forEach((thread) => thread.lost());
      if (reason === "io server disconnect") this.again();
    });
    this.socket.on("connect_error", (error) => {
      this.onState(false);
      if (error.data && error.data.code) this.again(error.data.code);
    });
    this.socket.on("message:new", (message) => this.of(message, (thread) => thread.receive(message)));
    this.socket.on("conversation:updated", (data) => this.threads.get(data.id)?.update(data));
    this.socket.on("message:read", (mark) => this.of(mark, (thread) => thread.read(mark)));
    this.socket.on("presence", (data) => this.of(data, (thread) => thread.presence(data)));
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
    this.threads.forEach((thread) => thread.close());
    this.socket.disconnect();
  }
}

