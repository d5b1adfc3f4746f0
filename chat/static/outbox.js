// What was written and is not stored yet. It survives a reload, and all tabs of the browser share it: each message is an
// entry of its own, so that no tab overwrites another's, and whichever tab has a connection sends them all.

// One tab at a time, where the browser has locks (not for pages from a plain http address). Without them two tabs may send
// the same message, which its id makes harmless, and each still sends them in their order.
export const alone = (name, work) => (navigator.locks ? navigator.locks.request(name, work) : work());

export class Outbox {
  // `place`: a conversation's id, or "new" for what is written before there is one.
  constructor(user, place, changed) {
    const name = `sri-care:outbox:${user}:${place}`;
    this.prefix = `${name}:`;
    this.sending = false;
    this.heard = (event) => (event.key === null || event.key.startsWith(this.prefix)) && changed();
    window.addEventListener("storage", this.heard);
    const old = JSON.parse(localStorage.getItem(name) || "[]"); // as the release before kept them
    old.forEach((wish, n) => this.put({ at: n, ...wish }));
    localStorage.removeItem(name);
  }

  // In the order in which they were written, in whichever tab.
  get list() {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(this.prefix)).sort();
    return keys.map((key) => ({ key, ...JSON.parse(localStorage.getItem(key)) }));
  }

  add(body) {
    const last = this.list.at(-1);
    const id = crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}`;
    this.put({ id, body, at: Math.max(Date.now(), last ? last.at + 1 : 0) });
  }

  put({ id, body, at, refused }) {
    localStorage.setItem(`${this.prefix}${String(at).padStart(15, "0")}:${id}`, JSON.stringify({ id, body, at, refused }));
  }

  // It stays to be seen, and holds up nobody.
  refuse(wish, why) {
    if (localStorage.getItem(wish.key)) this.put({ ...wish, refused: why });
  }

  remove(id) {
    this.list.filter((wish) => wish.id === id).forEach((wish) => localStorage.removeItem(wish.key));
  }

  moveTo(other) {
    for (const wish of this.list) {
      other.put(wish);
      localStorage.removeItem(wish.key);
    }
  }

  // One after the other, until there is nothing to send or `send` says that it cannot.
  async flush(send) {
    if (this.sending) return;
    this.sending = true;
    await alone(this.prefix, async () => {
      let wish;
      while ((wish = this.list.find((one) => !one.refused)) && (await send(wish)));
      this.sending = false; // before anything else can be written
    });
  }

  close() {
    window.removeEventListener("storage", this.heard);
  }
}
