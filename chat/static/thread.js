// A conversation that misses and doubles nothing.

const kept = (key) => JSON.parse(localStorage.getItem(key) || "[]");
const GIVE_UP = new Set(["validation_failed", "conversation_closed", "not_found", "forbidden", "agent_at_capacity"]);

// One conversation as this page has it: `seq` is gapless, so what is missing is known and fetched.
// What is written before the conversation is known is kept too, and sent as soon as it is.
export class Thread {
  constructor(line, changed) {
    Object.assign(this, { line, changed, id: null, have: 0, conversation: null, queue: null });
    this.messages = new Map();
    this.reads = new Map();
    this.typers = new Map();
    this.key = this.keyOf("new");
    this.outbox = kept(this.key);
    this.busy = this.sending = this.behind = false;
  }

  keyOf(id) {
    return `sri-care:outbox:${this.line.session.user.id}:${id}`;
  }

  begin(conversation) {
    this.id = conversation.id;
    this.conversation = conversation;
    const early = this.outbox;
    this.keep([]);
    this.key = this.keyOf(this.id);
    this.keep([...kept(this.key), ...early]);
    this.line.threads.set(this.id, this);
    this.changed(this);
    if (this.line.socket.connected) this.catchUp();
    return this;
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
    if (this.sending || !this.id) return;
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
    if (!this.id || this.have <= own || !this.line.socket.connected || document.hidden) return;
    this.reads.set(this.line.session.user.id, this.have);
    this.line.ask("message:read", { conversation_id: this.id, seq: this.have }).catch(() => this.reads.set(this.line.session.user.id, own));
  }

  close() {
    if (this.id) this.line.threads.delete(this.id);
  }
}

