// The agent's page: the queue, several conversations, and everything about the one in front.
import { $, Line, Refused, Session, Thread, element, rupees, showMessages, wireComposer, wireSignIn } from "./care.js";
import { say, speak } from "./texts.js";

const API = "/api/chat";
const session = new Session("console");
const threads = new Map();
let line = null;
let front = null;
let queue = [];
let mine = [];
let reloading = null;

const current = () => threads.get(front) || null;

function show() {
  const inside = Boolean(session.tokens && session.user);
  $("entrance").hidden = inside;
  $("desk").hidden = !inside;
  if (!inside) return;
  $("queue-length").textContent = queue.length;
  fillList($("queue"), queue);
  fillList($("mine"), mine);
  const thread = current();
  $("desk").classList.toggle("in-front", Boolean(thread));
  $("choose").hidden = Boolean(thread);
  $("conversation").hidden = $("side").hidden = !thread;
  if (!thread) return;
  const conversation = thread.conversation;
  $("who").textContent = conversation ? name(conversation) : "";
  const state = conversation && conversation.state;
  $("accept").hidden = state !== "queued" && state !== "bot";
  $("end").hidden = $("compose").hidden = state === "closed";
  showMessages($("messages"), thread, say);
  $("typing").textContent = thread.typers.size ? `${name(conversation)} ${say("typing")}` : "";
  thread.markRead();
}

const name = (conversation) => conversation.customer.name || say("customer");

function fillList(list, items) {
  if (!items.length) return list.replaceChildren(element("li", { class: "none", text: say("nobody") }));
  list.replaceChildren(...items.map((item) => {
    const thread = threads.get(item.id);
    const unread = thread ? thread.have - (thread.reads.get(session.user.id) || 0) : 0;
    const label = `${name(item)}${item.subject ? ` – ${item.subject}` : ""}`;
    const button = element("button", { type: "button", "aria-current": item.id === front ? "true" : null, text: label, onclick: () => bring(item.id) });
    if (unread > 0 && item.id !== front) button.append(element("span", { class: "count", text: unread }));
    if (item.waiting_since) button.append(element("span", { class: "waits", text: "●" }));
    return element("li", {}, button);
  }));
}

// What follows from one act; a refusal is shown and changes nothing.
async function attempt(work) {
  $("error").textContent = "";
  try {
    await work();
  } catch (error) {
    $("error").textContent = error instanceof Refused ? error.message : say("no_connection");
  }
}

async function reload() {
  const [waiting, assigned] = await Promise.all([
    session.api(`${API}/agent/queue`), session.api(`${API}/conversations?state=assigned&limit=100`)]);
  queue = waiting.items;
  mine = assigned.items.filter((item) => item.agent.id === session.user.id);
  mine.forEach((item) => threads.has(item.id) || follow(item));
  const me = waiting.agents.find((agent) => agent.id === session.user.id);
  if (me) {
    $("available").checked = me.available;
    if (document.activeElement !== $("capacity")) $("capacity").value = me.capacity;
  }
  const others = waiting.agents.filter((agent) => agent.available && agent.id !== session.user.id);
  const chosen = $("to").value;
  $("to").replaceChildren(element("option", { value: "", text: "–" }),
    ...others.map((agent) => element("option", { value: agent.id, text: `${agent.name || agent.id} (${agent.load}/${agent.capacity})` })));
  $("to").value = others.some((agent) => agent.id === chosen) ? chosen : "";
  show();
}

// News come in bursts: one look at the lists for all of them.
function reloadSoon() {
  reloading ||= setTimeout(() => {
    reloading = null;
    if (session.tokens) reload().catch(() => {});
  }, 150);
}

function follow(conversation) {
  const thread = new Thread(line, conversation.id, show);
  thread.conversation = conversation;
  threads.set(conversation.id, thread);
}

async function bring(id) {
  front = id;
  if (!threads.has(id)) follow([...queue, ...mine].find((item) => item.id === id));
  $("messages").replaceChildren();
  show();
  $("body").focus();
  await attempt(about);
}

// Everything beside the conversation in front.
async function about() {
  const thread = current();
  const customer = thread.conversation.customer.id;
  const [card, notes, canned, tickets] = await Promise.all([
    session.api(`${API}/agent/customers/${customer}`), session.api(`${API}/conversations/${thread.id}/notes`),
    session.api(`${API}/agent/canned-responses?limit=100`), session.api(`${API}/tickets?customer_id=${customer}`)]);
  if (current() !== thread) return;
  showCard(card);
  $("notes").replaceChildren(...notes.items.map((note) =>
    element("li", {}, element("b", { text: note.author.name || say("agent") }), ` ${note.body}`)));
  $("canned").replaceChildren(...canned.items.map((text) =>
    element("button", { type: "button", class: "chip", title: text.body, text: text.shortcut, onclick: () => { $("body").value = text.body; $("body").focus(); } })));
  $("tickets").replaceChildren(...tickets.items.map((ticket) => {
    const row = element("li", { text: `${ticket.number} · ${ticket.state} · ${ticket.subject} ` });
    if (ticket.sla.breached) row.classList.add("late");
    if (ticket.state === "open" || ticket.state === "in_progress") {
      row.append(element("button", { type: "button", class: "quiet", text: say("resolve"), onclick: () => attempt(async () => {
        await session.api(`${API}/tickets/${ticket.id}`, "PATCH", { state: "resolved" });
        await about();
      }) }));
    }
    return row;
  }));
}

function showCard(card) {
  const rows = (items, line) => (items.length ? items.map(line).join("\n") : say("none"));
  const term = (label, text) => [element("dt", { text: say(label) }), element("dd", { text })];
  const allowances = (service) => service.allowances.map((a) => `${(a.granted - a.used).toLocaleString("en")}/${a.granted.toLocaleString("en")} ${a.kind}`).join(", ");
  $("card").replaceChildren(element("h2", { text: card.name || say("customer") }), element("dl", {},
    ...term("balance", rupees(card.balance)),
    ...(card.barred ? term("barred", card.barred) : []),
    ...term("invoices", rows(card.open_invoices, (i) => `${i.number} ${rupees(i.amount_due)}${i.due_on ? ` → ${i.due_on}` : ""}`)),
    ...term("orders", rows(card.orders, (o) => `${o.number} ${o.offering_name}: ${o.state}`)),
    ...term("services", rows(card.services, (s) => `${s.offering_name} ${allowances(s)}`))));
}

async function enter() {
  show();
  line = new Line(session);
  line.onState = (connected) => {
    $("offline").hidden = connected;
    if (connected) reloadSoon();
  };
  line.socket.on("conversation:updated", reloadSoon);
  line.socket.on("presence", (data) => "available" in data && reloadSoon());
  line.socket.on("note:new", (note) => note.conversation_id === front && attempt(about));
  await attempt(reload);
}

const status = () => attempt(async () => {
  await session.api(`${API}/agent/status`, "POST", { available: $("available").checked, capacity: Number($("capacity").value) });
  await reload();
});
const submit = (form, work) => $(form).addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => { await work(); $(form).reset(); await about(); });
});

session.onEnd = () => {
  if (line) line.close();
  threads.clear();
  line = front = null;
  show();
};
$("available").addEventListener("change", status);
$("capacity").addEventListener("change", status);
$("sign-out").addEventListener("click", async () => {
  await session.api("/api/auth/logout", "POST").catch(() => {});
  session.end();
});
$("back").addEventListener("click", () => { front = null; show(); });
$("accept").addEventListener("click", () => attempt(async () => {
  current().update(await session.api(`${API}/conversations/${front}/accept`, "POST"));
  await reload();
}));
$("end").addEventListener("click", () => attempt(async () => {
  current().update(await session.api(`${API}/conversations/${front}/close`, "POST"));
  await reload();
}));
submit("note-form", () => session.api(`${API}/conversations/${front}/notes`, "POST", { body: $("note").value }));
submit("canned-save", () => session.api(`${API}/agent/canned-responses`, "POST", { shortcut: $("shortcut").value, body: $("body").value.trim() }));
submit("ticket", () => session.api(`${API}/tickets`, "POST", {
  conversation_id: front, subject: $("ticket-subject").value, description: $("ticket-subject").value }));
submit("transfer", async () => {
  const to = $("to").value ? { agent_id: $("to").value } : { team: $("team").value };
  current().update(await session.api(`${API}/conversations/${front}/transfer`, "POST", to));
  await reload();
});
wireComposer($("compose"), $("body"), current);
wireSignIn(session, say, enter);
speak(() => { $("messages").replaceChildren(); show(); if (current()) attempt(about); });
if (session.tokens && session.user) enter();
else show();
