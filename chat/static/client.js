// The customer's page: one conversation at a time, the newest that is open.
import { $, element, showMessages, wireComposer } from "./care.js";
import { Line } from "./line.js";
import { showOffer } from "./offers.js";
import { alone } from "./outbox.js";
import { Refused, Session, wireSignIn } from "./session.js";
import { say, speak } from "./texts.js";
import { Thread } from "./thread.js";

const API = "/api/chat/conversations";
const session = new Session("client");
let line = null;
let thread = null;

function show() {
  const inside = Boolean(session.tokens && session.user);
  $("entrance").hidden = inside;
  $("room").hidden = !inside;
  if (!inside || !thread) return;
  const conversation = thread.conversation;
  const closed = conversation && conversation.state === "closed";
  $("state").textContent = conversation ? describe(conversation) : "";
  $("greeting").hidden = thread.messages.size > 0 || thread.outbox.list.length > 0;
  showMessages($("messages"), thread, say, below);
  const writer = conversation && conversation.agent ? conversation.agent.name || say("agent") : say("agent");
  $("typing").textContent = thread.typers.size ? `${writer} ${say("typing")}` : "";
  $("rating").hidden = !closed;
  $("compose").hidden = Boolean(closed);
  $("end").hidden = Boolean(closed) || !conversation;
  $("quick").hidden = !conversation || conversation.state !== "bot";
  if (closed) showRating(conversation);
  thread.markRead();
}

const below = (message) => showOffer(session, message, say);

function describe(conversation) {
  if (conversation.state === "assigned") {
    const there = thread.online && thread.online.has(conversation.agent.id) ? ` · ${say("online")}` : "";
    return `${say("state_assigned")} ${conversation.agent.name || say("agent")}${there}`;
  }
  const parts = [say(`state_${conversation.state}`)];
  if (conversation.state === "queued" && thread.queue) {
    parts.push(say("place", { n: thread.queue.position }));
    const wait = thread.queue.estimated_wait_s;
    if (wait !== null) parts.push(say("minutes", { n: Math.max(1, Math.round(wait / 60)) }));
  }
  return parts.join(" · ");
}

function showRating(conversation) {
  $("comment").hidden = Boolean(conversation.rating);
  const shown = `${thread.id} ${conversation.rating} ${say("stars")}`;
  if ($("stars").dataset.shown === shown) return; // else whoever is on a star by keyboard would lose it
  $("stars").dataset.shown = shown;
  if (conversation.rating) return $("stars").replaceChildren(element("p", { text: say("thanks") }));
  const rate = (score) => async () => {
    const comment = $("comment").value.trim();
    await attempt(async () => {
      thread.update(await session.api(`${API}/${thread.id}/rating`, "POST", comment ? { score, comment } : { score }));
    });
  };
  $("stars").replaceChildren(...[1, 2, 3, 4, 5].map((n) =>
    element("button", { type: "button", text: "★".repeat(n), "aria-label": say("stars", { n }), onclick: rate(n) })));
}

function showQuick() {
  $("quick").replaceChildren(...["ask_balance", "ask_bill", "ask_data", "ask_agent"].map((name) =>
    element("button", { type: "button", class: "chip", text: say(name), onclick: () => thread && thread.say(say(name)) })));
}

// A refusal is shown and changes nothing.
async function attempt(work) {
  $("error").textContent = "";
  try {
    await work();
  } catch (error) {
    $("error").textContent = error instanceof Refused ? error.message : say("no_connection");
  }
}

// The newest conversation: one that is open, or to be read again the last that was closed, or a new one.
// Not two tabs at once: both would make one.
function open(anew = false) {
  return alone(`sri-care:open:${session.user.id}`, async () => {
    const { items } = await session.api(`${API}?limit=5`);
    const last = items.find((item) => item.state !== "closed") || (anew ? null : items[0]);
    thread.begin(last || (await session.api(API, "POST", {})));
  });
}

function startThread() {
  if (thread) thread.close();
  $("messages").replaceChildren();
  thread = new Thread(line, show);
  show();
}

async function enter() {
  line = new Line(session);
  line.onState = (connected) => ($("offline").hidden = connected);
  startThread();
  $("body").focus();
  while (session.tokens) {
    try {
      return await open();
    } catch {
      $("offline").hidden = false;
      await new Promise((wake) => setTimeout(wake, 1500));
    }
  }
}

session.onEnd = () => {
  if (thread) thread.close();
  if (line) line.close();
  line = thread = null;
  $("body").value = "";
  show();
};
$("sign-out").addEventListener("click", async () => {
  await session.api("/api/auth/logout", "POST").catch(() => {});
  session.end();
});
$("end").addEventListener("click", () => attempt(async () => thread.update(await session.api(`${API}/${thread.id}/close`, "POST"))));
$("anew").addEventListener("click", () => attempt(async () => { startThread(); await open(true); }));
$("copy").addEventListener("click", () => attempt(async () => {
  if (!session.user.email) throw new Refused(409, { detail: say("no_email") });
  await session.api(`${API}/${thread.id}/transcript`, "POST");
  $("copied").textContent = say("copied", { email: session.user.email });
}));
document.addEventListener("visibilitychange", () => thread && thread.markRead());
wireComposer($("compose"), $("body"), () => thread);
wireSignIn(session, say, enter);
speak(() => { showQuick(); $("messages").replaceChildren(); show(); });
showQuick();
if (session.tokens && session.user) enter();
else show();
