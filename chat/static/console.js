// The agent's page: the queue, several conversations, and everything about the one in front.
import { $, element, rupees, showMessages, wireComposer } from "./care.js";
import { Line } from "./line.js";
import { Refused, Session, wireSignIn } from "./session.js";
import { say, speak } from "./texts.js";
import { Thread } from "./thread.js";
import { forgetTickets, showTickets } from "./tickets.js";

const API = "/api/chat";
const session = new Session("console");
const threads = new Map();
let line = null;
let front = null;
let queue = [];
let mine = [];
let others = [];
let agents = [];
let reloading = null;

const current = () => threads.get(front) || null;

function show() {
  const inside = Boolean(session.tokens && session.user);
  $("entrance").hidden = inside;
  $("desk").hidden = !inside;
  if (!inside) return;
  const news = mine.reduce((sum, item) => sum + unread(item), 0);
  document.title = (news ? `(${news}) ` : "") + say("console");
  $("queue-length").textContent = queue.length;
  fillList($("queue"), queue);
  fillList($("mine"), mine);
  fillList($("others"), others);
  $("longest").textContent = queue.length ? say("longest_wait", { n: minutesSince(queue[0].queued_at) }) : "";
  $("agents").replaceChildren(...agents.map(describeAgent));
  const thread = current();
  $("desk").classList.toggle("in-front", Boolean(thread));
  $("choose").hidden = Boolean(thread);
  $("conversation").hidden = $("side").hidden = !thread;
  if (!thread) return;
  const conversation = thread.conversation;
  $("who").textContent = conversation ? name(conversation) + presence(thread) : "";
  const state = conversation && conversation.state;
  $("accept").hidden = state !== "queued" && state !== "bot";
  $("end").hidden = $("compose").hidden = state === "closed";
  showMessages($("messages"), thread, say);
  $("typing").textContent = thread.typers.size ? `${name(conversation)} ${say("typing")}` : "";
  thread.markRead();
}

function presence(thread) {
  if (!thread.online) return "";
  return ` · ${say(thread.online.has(thread.conversation.customer.id) ? "online" : "not_here")}`;
}

const minutesSince = (instant) => Math.max(0, Math.round((Date.now() - new Date(instant)) / 60_000));

function describeAgent(agent) {
  const state = agent.available ? say("takes") : say("away");
  const team = agent.team ? ` · ${agent.team}` : "";
  return element("li", { class: agent.available ? "" : "none" },
    element("b", { text: agent.name || agent.id.slice(0, 8) }), ` ${agent.load}/${agent.capacity} · ${state}${team}`);
}

// Since when the customer waits for an answer, by the messages that are here.
function unanswered(thread) {
  const said = thread ? thread.list.filter((message) => message.sender.role !== "system") : [];
  let since = null;
  for (let n = said.length - 1; n >= 0 && said[n].sender.role === "customer"; n -= 1) since = said[n].created_at;
  return since;
}

// Messages that have not been seen, those of the conversation in front only while the page is not.
function unread(item) {
  const thread = threads.get(item.id);
  return thread && (item.id !== front || document.hidden) ? thread.have - (thread.reads.get(session.user.id) || 0) : 0;
}

const name = (conversation) => conversation.customer.name || say("customer");

// Built anew only when it has changed, and the focus stays where it was.
function fillList(list, items) {
  const rows = items.map((item) => {
    const thread = threads.get(item.id);
    const who = item.agent && item.agent.id !== session.user.id ? ` · ${item.agent.name || say("agent")}` : "";
    const since = item.state === "queued" ? item.queued_at : unanswered(thread) || (!thread && item.waiting_since);
    return {
      id: item.id, label: `${name(item)}${item.subject ? ` – ${item.subject}` : ""}${who}`, current: item.id === front,
      online: Boolean(thread && thread.online && thread.online.has(item.customer.id)) && say("online"),
      news: unread(item), waits: since && say("waits", { n: minutesSince(since) }),
    };
  });
  const shown = JSON.stringify([say("nobody"), rows]);
  if (list.dataset.shown === shown) return;
  const focused = list.contains(document.activeElement) && document.activeElement.dataset.id;
  list.dataset.shown = shown;
  list.replaceChildren(...(rows.length ? rows.map(describeRow) : [element("li", { class: "none", text: say("nobody") })]));
  if (focused) list.querySelector(`[data-id="${focused}"]`)?.focus();
}

function describeRow({ id, label, current: inFront, online, news, waits }) {
  const button = element("button", { type: "button", "data-id": id, "aria-current": inFront ? "true" : null, text: label, onclick: () => bring(id) });
  if (online) button.prepend(element("span", { class: "online", role: "img", "aria-label": online }));
  if (news > 0) button.append(element("span", { class: "count", text: news }));
  if (waits) button.append(element("span", { class: "waits", text: waits }));
  return element("li", {}, button);
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
  const list = `${API}/conversations?state=assigned&limit=100`; // more than one agent may have, not more than all have
  const [waiting, own, assigned] = await Promise.all([
    session.api(`${API}/agent/queue`), session.api(`${list}&agent_id=${session.user.id}`), session.api(list)]);
  queue = waiting.items;
  mine = own.items;
  others = assigned.items.filter((item) => item.agent.id !== session.user.id);
  agents = waiting.agents;
  mine.forEach((item) => threads.has(item.id) || follow(item));
  const me = waiting.agents.find((agent) => agent.id === session.user.id);
  if (me) {
    $("available").checked = me.available;
    if (document.activeElement !== $("capacity")) $("capacity").value = me.capacity;
  }
  const colleagues = agents.filter((agent) => agent.available && agent.id !== session.user.id);
  if (document.activeElement !== $("to")) offer(colleagues);
  show();
}

function offer(colleagues) {
  const chosen = $("to").value;
  $("to").replaceChildren(element("option", { value: "", text: "–" }),
    ...colleagues.map((agent) => element("option", { value: agent.id, text: `${agent.name || agent.id} (${agent.load}/${agent.capacity})` })));
  $("to").value = colleagues.some((agent) => agent.id === chosen) ? chosen : "";
}

// News come in bursts: one look at the lists for all of them.
function reloadSoon() {
  reloading ||= setTimeout(() => {
    reloading = null;
    if (session.tokens) reload().catch(() => {});
  }, 150);
}

function follow(conversation) {
  const thread = new Thread(line, show);
  threads.set(conversation.id, thread);
  thread.begin(conversation);
}

// What was being written stays with its conversation: it must not go to another customer.
function turnTo(id) {
  if (current()) current().draft = $("body").value;
  front = id;
  $("body").value = (current() && current().draft) || "";
}

async function bring(id) {
  if (!threads.has(id)) follow([...queue, ...mine, ...others].find((item) => item.id === id));
  turnTo(id);
  $("copy").textContent = say("copy_customer");
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
  showTickets(session, tickets.items, (work) => attempt(async () => {
    await work();
    await about();
  }));
}

function showCard(card) {
  const rows = (items, line) => (items.length ? items.map(line).join("\n") : say("none"));
  const term = (label, text) => [element("dt", { text: say(label) }), element("dd", { text })];
  const allowances = (service) => service.allowances.map((a) => `${(a.granted - a.used).toLocaleString("en")}/${a.granted.toLocaleString("en")} ${a.kind}`).join(", ");
  $("card").replaceChildren(element("h2", { text: card.name || say("customer") }), element("dl", {},
    ...term("balance", rupees(card.balance || { amount_minor: 0, currency: "LKR" })), // none: it has not moved yet
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

setInterval(show, 30_000); // minutes pass without news
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
  turnTo(null);
  threads.clear();
  forgetTickets();
  line = null;
  show();
};
$("available").addEventListener("change", status);
$("capacity").addEventListener("change", status);
$("sign-out").addEventListener("click", async () => {
  await session.api("/api/auth/logout", "POST").catch(() => {});
  session.end();
});
$("back").addEventListener("click", () => { turnTo(null); show(); });
document.addEventListener("visibilitychange", show);
$("accept").addEventListener("click", () => attempt(async () => {
  current().update(await session.api(`${API}/conversations/${front}/accept`, "POST"));
  await reload();
}));
$("end").addEventListener("click", () => attempt(async () => {
  current().update(await session.api(`${API}/conversations/${front}/close`, "POST"));
  await reload();
}));
$("copy").addEventListener("click", () => attempt(async () => {
  await session.api(`${API}/conversations/${front}/transcript`, "POST");
  $("copy").textContent = say("sent");
}));
submit("note-form", () => session.api(`${API}/conversations/${front}/notes`, "POST", { body: $("note").value }));
submit("canned-save", () => session.api(`${API}/agent/canned-responses`, "POST", { shortcut: $("shortcut").value, body: $("body").value.trim() }));
submit("ticket", () => session.api(`${API}/tickets`, "POST", {
  conversation_id: front, subject: $("ticket-subject").value, description: $("ticket-description").value.trim() || $("ticket-subject").value,
  category: $("ticket-category").value, priority: $("ticket-priority").value }));
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
