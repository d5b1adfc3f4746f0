// The customer's page: one conversation at a time, the newest that is open.
import { $, Line, Session, Thread, element, showMessages, wireComposer, wireSignIn } from "./care.js";
import { say, speak } from "./texts.js";

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
  showMessages($("messages"), thread, say);
  const writer = conversation && conversation.agent ? conversation.agent.name || say("agent") : say("agent");
  $("typing").textContent = thread.typers.size ? `${writer} ${say("typing")}` : "";
  $("rating").hidden = !closed;
  $("compose").hidden = $("end").hidden = Boolean(closed);
  $("quick").hidden = !conversation || conversation.state !== "bot";
  if (closed) showRating(conversation);
  thread.markRead();
}

function describe(conversation) {
  if (conversation.state === "assigned") return `${say("state_assigned")} ${conversation.agent.name || say("agent")}`;
  const parts = [say(`state_${conversation.state}`)];
  if (conversation.state === "queued" && thread.queue) {
    parts.push(say("place", { n: thread.queue.position }));
    const wait = thread.queue.estimated_wait_s;
    if (wait !== null) parts.push(say("minutes", { n: Math.max(1, Math.round(wait / 60)) }));
  }
  return parts.join(" · ");
}

function showRating(conversation) {
  if (conversation.rating) return $("stars").replaceChildren(element("p", { text: say("thanks") }));
  const rate = (score) => async () => {
    thread.update(await session.api(`${API}/${thread.id}/rating`, "POST", { score }));
    show();
  };
  $("stars").replaceChildren(...[1, 2, 3, 4, 5].map((n) =>
    element("button", { type: "button", text: "★".repeat(n), "aria-label": say("stars", { n }), onclick: rate(n) })));
}

function showQuick() {
  $("quick").replaceChildren(...["ask_balance", "ask_bill", "ask_data", "ask_agent"].map((name) =>
    element("button", { type: "button", class: "chip", text: say(name), onclick: () => thread && thread.say(say(name)) })));
}

async function open(anew = false) {
  const { items } = await session.api(`${API}?limit=5`);
  const last = items.find((item) => item.state !== "closed") || (anew ? null : items[0]);
  const conversation = last || (await session.api(API, "POST", {}));
  if (thread) thread.close();
  $("messages").replaceChildren();
  thread = new Thread(line, conversation.id, show);
  thread.conversation = conversation;
  show();
}

async function enter() {
  show();
  line = new Line(session);
  line.onState = (connected) => ($("offline").hidden = connected);
  while (session.tokens) {
    try {
      await open();
      $("body").focus();
      return;
    } catch {
      $("offline").hidden = false;
      await new Promise((wake) => setTimeout(wake, 1500));
    }
  }
}

session.onEnd = () => {
  if (line) line.close();
  line = thread = null;
  show();
};
$("sign-out").addEventListener("click", async () => {
  await session.api("/api/auth/logout", "POST").catch(() => {});
  session.end();
});
$("end").addEventListener("click", async () => thread && thread.update(await session.api(`${API}/${thread.id}/close`, "POST")));
$("anew").addEventListener("click", () => open(true));
document.addEventListener("visibilitychange", () => thread && thread.markRead());
wireComposer($("compose"), $("body"), () => thread);
wireSignIn(session, say, enter);
speak(() => { showQuick(); $("messages").replaceChildren(); show(); });
showQuick();
if (session.tokens && session.user) enter();
else show();
