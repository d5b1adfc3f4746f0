// What the bot lets the customer do: order something, pay something. Nothing happens before a button that names it and its
// price is pressed; then this page asks the services themselves, with the customer's own token.
import { element, rupees } from "./care.js";
import { Refused } from "./session.js";

const ORDERS = "/api/provisioning/orders";
const doneKey = (id) => `sri-care:done:${id}`;

export function showOffer(session, message, say) {
  const { offer } = message;
  if (!offer || new Date(offer.expires_at) < new Date()) return null;
  const box = element("div", { class: "offer" });
  const done = sessionStorage.getItem(doneKey(message.id));
  if (done) {
    box.append(element("p", { text: done }));
    return box;
  }
  const desk = { session, say, box, id: message.id };
  if (offer.kind === "pay") {
    offerPayment(desk, { reference: { type: "invoice", id: offer.invoice_id }, amount: offer.amount, what: offer.number });
    if (offer.link) box.append(element("a", { href: offer.link, target: "_blank", rel: "noopener", text: say("pay_by_card") }));
  } else {
    chooseOffering(desk, offer.category);
  }
  return box;
}

// Work that can be refused: buttons rest meanwhile, and what went wrong is said where it was asked for.
function attempt({ box, say }, work) {
  const buttons = [...box.querySelectorAll("button")];
  buttons.forEach((button) => (button.disabled = true));
  box.querySelector(".error")?.remove();
  work()
    .catch((error) => box.append(element("p", { class: "error", role: "alert", text: error instanceof Refused ? error.message : say("no_connection") })))
    .finally(() => {
      buttons.forEach((button) => (button.disabled = false));
      show(box);
    });
}

const show = (box) => box.scrollIntoView({ block: "nearest" });

async function chooseOffering(desk, category) {
  const { session, say, box } = desk;
  const query = category ? `category=${encodeURIComponent(category)}&limit=50` : "limit=50";
  let items = [];
  try {
    ({ items } = await session.api(`/api/provisioning/offerings?${query}`));
  } catch {
    return box.append(element("button", { type: "button", text: say("try_again"), onclick: () => { box.replaceChildren(); chooseOffering(desk, category); } }));
  }
  const possible = items.filter((item) => item.characteristics.every((one) => !one.required || one.allowed_values));
  const cost = (money) => (money.amount_minor ? rupees(money) : say("free"));
  box.append(...possible.map((item) =>
    element("button", { type: "button", class: "choice", onclick: () => confirmOrder(desk, item, category) },
      element("b", { text: item.name }), element("span", { text: cost(item.price) }))));
  if (!possible.length) box.append(element("p", { text: say("nothing_to_order") }));
  show(box);
}

function confirmOrder(desk, item, category) {
  const { say, box } = desk;
  const choices = item.characteristics.filter((one) => one.required).map((one) => ({ name: one.name, field:
    element("select", { "aria-label": one.label }, ...one.allowed_values.map((value) => element("option", { value: value.value, text: value.label }))) }));
  box.replaceChildren(
    element("p", { text: item.description }),
    ...choices.map((one) => one.field),
    element("button", { type: "button", class: "main", text: item.price.amount_minor ? say("order_for", { name: item.name, price: rupees(item.price) }) : say("order_free", { name: item.name }), onclick: () => attempt(desk, () => order(desk, item, choices)) }),
    element("button", { type: "button", class: "quiet", text: say("back"), onclick: () => { box.replaceChildren(); chooseOffering(desk, category); } }));
  show(box);
  box.querySelector("select, button").focus();
}

// The key is the same for the same choice in the same message: pressed twice, or on two devices, it is one order.
async function order(desk, item, choices) {
  const { session, say } = desk;
  const characteristics = Object.fromEntries(choices.map((one) => [one.name, one.field.value]));
  const key = [desk.id, item.id, ...Object.values(characteristics)].join(":");
  const wish = choices.length ? { offering_id: item.id, characteristics } : { offering_id: item.id };
  const placed = await session.api(ORDERS, "POST", wish, { "Idempotency-Key": key });
  done(desk, say("ordered", { number: placed.number, name: item.name }));
  if (placed.state === "pending_payment") {
    offerPayment(desk, { reference: { type: "order", id: placed.id }, amount: placed.total, what: placed.number });
  }
}

function offerPayment(desk, payment) {
  const { say, box } = desk;
  const button = element("button", { type: "button", class: "main", text: say("pay_from_wallet", { price: rupees(payment.amount) }), onclick: () => {
    button.replaceWith(
      element("p", { class: "asked", text: say("really_pay", { price: rupees(payment.amount), what: payment.what }) }),
      element("button", { type: "button", class: "main", text: say("pay_now"), onclick: () => attempt(desk, () => pay(desk, payment)) }));
    box.querySelector("button").focus();
  } });
  box.append(button);
}

// A refused payment took nothing, so the next try is another; one without an answer is asked about with the same key.
async function pay(desk, payment) {
  const { session, say } = desk;
  payment.key ||= crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}`;
  const body = { reference: payment.reference, amount: payment.amount, method: { type: "wallet" } };
  try {
    await session.api("/api/payment/process", "POST", body, { "Idempotency-Key": payment.key });
  } catch (error) {
    if (error instanceof Refused && error.status < 500 && error.code !== "request_in_progress") payment.key = null;
    throw error;
  }
  done(desk, say("paid", { price: rupees(payment.amount), what: payment.what }));
}

// What came of an offer stands in its place, in this tab after a reload too.
function done({ box, id }, text) {
  sessionStorage.setItem(doneKey(id), text);
  box.replaceChildren(element("p", { role: "status", text }));
  box.tabIndex = -1;
  box.focus(); // the button that had it is gone
}
