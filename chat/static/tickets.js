// A customer's tickets as an agent works on them: state, clocks, and what has been said about them.
import { $, element } from "./care.js";
import { say } from "./texts.js";

const API = "/api/chat/tickets";
const stories = new Map(); // by ticket: what is being written there stays when the list is built anew

export const forgetTickets = () => stories.clear();

// `act` does what the agent asks for and shows everything anew.
export function showTickets(session, tickets, act) {
  const shown = JSON.stringify([say("tickets"), tickets]);
  if ($("tickets").dataset.shown === shown) return; // else whoever is writing would lose the place
  $("tickets").dataset.shown = shown;
  $("tickets").replaceChildren(...tickets.map((ticket) => describe(session, ticket, act)));
}

function describe(session, ticket, act) {
  const row = element("li", { class: ticket.sla.breached ? "late" : "", text: `${ticket.number} · ${say(`ticket_${ticket.state}`)} · ${ticket.subject}` });
  if (ticket.sla.breached) row.append(` · ${say("late")}`);
  const change = (label, fields) => element("button", { type: "button", class: "quiet", text: say(label), onclick: () => act(() => session.api(`${API}/${ticket.id}`, "PATCH", fields)) });
  if (ticket.state === "open") row.append(change("begin", { state: "in_progress" }));
  if (ticket.state === "open" || ticket.state === "in_progress") {
    row.append(change("resolve", { state: "resolved" }),
      change(ticket.sla.paused ? "goes_on" : "waits_for_customer", { waiting_for_customer: !ticket.sla.paused }));
  }
  const before = stories.get(ticket.id);
  if (!before || before.language !== say("tickets")) stories.set(ticket.id, story(session, ticket, act));
  const { details, form, body, load } = stories.get(ticket.id);
  if (before) [body.value, details.open] = [before.body.value, before.details.open];
  form.hidden = ticket.state === "closed";
  if (details.open) act(load);
  row.append(details);
  return row;
}

function story(session, ticket, act) {
  const comments = element("ul");
  const body = element("textarea", { rows: 2, maxlength: 4000, required: true, "aria-label": say("ticket_comment"), placeholder: say("ticket_comment") });
  const internal = element("input", { type: "checkbox" });
  let asked = 0;
  const load = async () => {
    const mine = (asked += 1);
    const { comments: said } = await session.api(`${API}/${ticket.id}`);
    if (mine !== asked) return; // a later answer knows more
    comments.replaceChildren(...said.map((one) => element("li", {},
      element("b", { text: `${one.author.name || say(one.by_care ? "agent" : "customer")}${one.internal ? ` (${say("only_care")})` : ""}` }), ` ${one.body}`)));
  };
  const send = (event) => {
    event.preventDefault();
    const said = { body: body.value, internal: internal.checked };
    body.value = ""; // the next one may be begun meanwhile
    act(async () => {
      try {
        await session.api(`${API}/${ticket.id}/comments`, "POST", said);
      } catch (error) {
        body.value = said.body + (body.value && `\n${body.value}`);
        throw error;
      }
      await load();
    });
  };
  const form = element("form", { onsubmit: send }, body, element("label", {}, internal, ` ${say("only_care")}`), element("button", { text: say("send") }));
  const details = element("details", {}, element("summary", { text: say("ticket_comments") }), element("p", { text: ticket.description }), comments, form);
  details.addEventListener("toggle", () => details.open && act(load));
  return { language: say("tickets"), details, form, body, load };
}
