// What both pages show: elements, messages, the field to write in.

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
// `below` gives what a message has beneath it, or nothing.
export function showMessages(list, thread, say, below = () => null) {
  const mine = thread.line.session.user.id;
  const others = Math.max(0, ...[...thread.reads].filter(([user]) => user !== mine).map(([, seq]) => seq));
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  const wanted = [
    ...thread.list.map((message) => ({
      key: `s${message.seq}`,
      side: message.sender.id === mine ? "mine" : message.sender.role,
      who: message.sender.id === mine ? say("you") : message.sender.name || say(message.sender.role),
      body: message.body,
      below: () => below(message),
      foot: clockTime(message.created_at) + (message.sender.id === mine && message.seq <= others ? ` · ${say("read")}` : ""),
    })),
    ...thread.outbox.list.map((wish) => ({
      key: `w${wish.id}`, side: wish.refused ? "mine refused" : "mine waiting", who: say("you"), body: wish.body,
      foot: wish.refused || say("unsent"), drop: wish.refused && wish.id, below: () => null,
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
      const more = one.drop
        ? element("button", { type: "button", class: "quiet", text: say("discard"), onclick: () => thread.forget(one.drop) })
        : one.below();
      if (more) item.append(more);
    }
    const foot = item.querySelector(".foot");
    if (foot.textContent !== one.foot) foot.textContent = one.foot;
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] || null);
  });
  if (atEnd) list.scrollTop = list.scrollHeight;
}

// A text field that sends with Enter and tells the others that somebody writes.
export function wireComposer(form, field, current) {
  let told = 0;
  const typing = (active) => {
    const thread = current();
    if (thread && thread.id && thread.line.socket.connected) thread.line.socket.emit("typing", { conversation_id: thread.id, active });
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
    thread.say(body);
    field.value = ""; // not before it is kept
    told = 0;
    typing(false);
    field.focus();
  });
}

