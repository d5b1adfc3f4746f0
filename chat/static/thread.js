// A conversation that misses and doubles nothing.
import { Outbox } from "./outbox.js";

const GIVE_UP = new Set(["validation_failed", "conversation_closed", "not_found", "forbidden", "agent_at_capacity"]);

// One conversation as this page has it: `seq` is gapless, so what is missing is known and fetched.
// What is written before the conversation is known is kept too, and sent as soon as it is.
export class Thread {
  constructor(line, changed) {
    Object.assign(this, { line, changed, id: null, have: 0, conversation: null, queue: null, online: null });
    this.messages = new Map();
    this.reads = new Map();
    this.typers = new Map();
    this.outbox = this.outboxOf("new");
    this.busy = this.behind = false;
  }

  outboxOf(place) {
    return new Outbox(this.line.session.user.id, place, () => { this.changed(this); this.flush(); });
  }

  begin(conversation) {
    this.id = conversation.id;
    this.conversation = conversation;
    const early = this.outbox;
    this.outbox = this.outboxOf(this.id);
    early.moveTo(this.outbox);
    early.close();
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
        this.online = new Set(answer.online);
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
    this.outbox.remove(message.client_message_id);
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

  // Who else is there; not known (null) while there is no connection.
  presence({ user_id: user, online }) {
    if (!this.online) return;
    if (online) this.online.add(user);
    else this.online.delete(user);
    this.changed(this);
  }

  lost() {
    this.online = null;
    this.typers.forEach((timer) => clearTimeout(timer));
    this.typers.clear();
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

  say(body) {
    this.outbox.add(body);
    this.changed(this);
    this.flush();
  }

  // In the order in which it was written, each with its id until it is answered: repeated, never doubled.
  async flush() {
    if (!this.id || !this.line.socket.connected) return;
    await this.outbox.flush((wish) => this.send(wish));
    if (this.messages.size && Math.max(...this.messages.keys()) > this.have) this.catchUp();
  }

  async send(wish) {
    if (!this.line.socket.connected) return false;
    try {
      const payload = { conversation_id: this.id, client_message_id: wish.id, body: wish.body };
      const answer = await this.line.ask("message:send", payload);
      if (answer.ok) this.take(answer.message);
      else if (GIVE_UP.has(answer.code)) this.outbox.refuse(wish, answer.detail);
      else if (answer.code === "not_joined") await this.line.ask("conversation:join", { conversation_id: this.id, after_seq: this.have });
      else await new Promise((wake) => setTimeout(wake, 1000));
      this.changed(this);
    } catch {
      await new Promise((wake) => setTimeout(wake, 500));
    }
    return true;
  }

  forget(id) {
    this.outbox.remove(id);
    this.changed(this);
  }

  markRead() {
    const own = this.reads.get(this.line.session.user.id) || 0;
    if (!this.id || this.have <= own || !this.line.socket.connected || document.hidden) return;
    this.reads.set(this.line.session.user.id, this.have);
    this.line.ask("message:read", { conversation_id: this.id, seq: this.have }).catch(() => this.reads.set(this.line.session.user.id, own));
  }

  close() {
    this.outbox.close();
    if (this.id) this.line.threads.delete(this.id);
  }
}

