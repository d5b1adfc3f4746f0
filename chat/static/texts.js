// The pages' own words in the three languages.
const TEXTS = {
  title: ["Sri-Care help", "Sri-Care සහාය", "Sri-Care உதவி"],
  console: ["Sri-Care console", "Sri-Care කොන්සෝලය", "Sri-Care பணியகம்"],
  language: ["Language", "භාෂාව", "மொழி"],
  identifier: ["Phone or e-mail", "දුරකථන අංකය හෝ ඊ-තැපෑල", "தொலைபேசி அல்லது மின்னஞ்சல்"],
  password: ["Password", "මුරපදය", "கடவுச்சொல்"],
  code: ["Code of your authenticator", "සත්‍යාපන කේතය", "அங்கீகாரக் குறியீடு"],
  sign_in: ["Sign in", "ඇතුල් වන්න", "உள்நுழைக"],
  sign_out: ["Sign out", "ඉවත් වන්න", "வெளியேறு"],
  no_connection: ["No connection. Please try again.", "සම්බන්ධතාවක් නැත. නැවත උත්සාහ කරන්න.", "இணைப்பு இல்லை. மீண்டும் முயலவும்."],
  offline: ["No connection. What you write is kept and sent when it is back.", "සම්බන්ධතාවක් නැත. ඔබ ලියන දේ තබාගෙන පසුව යවනු ලැබේ.", "இணைப்பு இல்லை. நீங்கள் எழுதுவது சேமிக்கப்பட்டு பின்னர் அனுப்பப்படும்."],
  write: ["Write a message", "පණිවිඩයක් ලියන්න", "செய்தி எழுதுங்கள்"],
  send: ["Send", "යවන්න", "அனுப்பு"],
  messages: ["Messages", "පණිවිඩ", "செய்திகள்"],
  greeting: ["Ask about your balance, bills, data or orders, or talk to a person.", "ශේෂය, බිල්පත්, ඩේටා හෝ ඇණවුම් ගැන අසන්න, නැතහොත් කෙනෙකු සමඟ කතා කරන්න.", "இருப்பு, பில், டேட்டா அல்லது ஆர்டர் பற்றிக் கேளுங்கள்; அல்லது ஒருவருடன் பேசுங்கள்."],
  ask_balance: ["My balance", "මගේ ශේෂය", "என் இருப்பு"],
  ask_bill: ["My bill", "මගේ බිල", "என் பில்"],
  ask_data: ["Data left", "ඉතිරි ඩේටා", "மீதி டேட்டா"],
  ask_agent: ["Talk to a person", "නියෝජිතයෙක්", "முகவருடன்"],
  you: ["You", "ඔබ", "நீங்கள்"],
  customer: ["Customer", "පාරිභෝගිකයා", "வாடிக்கையாளர்"],
  agent: ["Agent", "නියෝජිත", "முகவர்"],
  bot: ["Assistant", "සහායක", "உதவியாளர்"],
  system: ["Sri-Care", "Sri-Care", "Sri-Care"],
  read: ["read", "කියවා ඇත", "படித்தாயிற்று"],
  unsent: ["not sent yet", "තවම යවා නැත", "இன்னும் அனுப்பவில்லை"],
  discard: ["Discard", "ඉවතලන්න", "நீக்கு"],
  typing: ["is writing…", "ලියමින්…", "எழுதுகிறார்…"],
  state_bot: ["You are talking to the assistant", "ඔබ සහායක සමඟ කතා කරයි", "உதவியாளருடன் பேசுகிறீர்கள்"],
  state_queued: ["You are waiting for a person", "ඔබ නියෝජිතයෙකු බලාපොරොත්තුවෙන්", "முகவருக்காகக் காத்திருக்கிறீர்கள்"],
  state_assigned: ["You are talking to", "ඔබ කතා කරන්නේ", "நீங்கள் பேசுவது"],
  state_closed: ["This conversation is closed", "මෙම සංවාදය වසා ඇත", "இந்த உரையாடல் மூடப்பட்டது"],
  place: ["place {n}", "ස්ථානය {n}", "இடம் {n}"],
  minutes: ["about {n} min", "මිනිත්තු {n}ක් පමණ", "சுமார் {n} நிமிடம்"],
  close: ["End conversation", "සංවාදය අවසන් කරන්න", "உரையாடலை முடி"],
  new_conversation: ["New conversation", "අලුත් සංවාදයක්", "புதிய உரையாடல்"],
  rate: ["How did we do?", "අපගේ සේවාව කෙසේද?", "எங்கள் சேவை எப்படி?"],
  stars: ["{n} of 5", "5න් {n}", "5 இல் {n}"],
  thanks: ["Thank you.", "ස්තූතියි.", "நன்றி."],
  queue: ["Waiting", "රැඳී සිටින", "காத்திருப்போர்"],
  mine: ["My conversations", "මගේ සංවාද", "என் உரையாடல்கள்"],
  nobody: ["Nobody", "කිසිවෙකු නැත", "யாரும் இல்லை"],
  available: ["Taking conversations", "සංවාද භාරගනී", "உரையாடல்களை ஏற்கிறேன்"],
  capacity: ["At most", "උපරිම", "அதிகபட்சம்"],
  accept: ["Take", "භාරගන්න", "ஏற்க"],
  choose: ["Choose a conversation.", "සංවාදයක් තෝරන්න.", "ஒரு உரையாடலைத் தேர்ந்தெடுக்கவும்."],
  back: ["Back", "ආපසු", "பின்"],
  balance: ["Balance", "ශේෂය", "இருப்பு"],
  barred: ["Barred", "සීමා කර ඇත", "தடுக்கப்பட்டது"],
  invoices: ["Unpaid bills", "නොගෙවූ බිල්පත්", "செலுத்தாத பில்கள்"],
  orders: ["Orders", "ඇණවුම්", "ஆர்டர்கள்"],
  services: ["Services", "සේවා", "சேவைகள்"],
  none: ["none", "නැත", "இல்லை"],
  canned: ["Ready texts", "සූදානම් පිළිතුරු", "தயார் பதில்கள்"],
  canned_save: ["Keep as ready text: short name", "සූදානම් පිළිතුරක් ලෙස: කෙටි නම", "தயார் பதிலாகச் சேமி: குறுபெயர்"],
  shortcut: ["Short name", "කෙටි නම", "குறுபெயர்"],
  save: ["Save", "සුරකින්න", "சேமி"],
  notes: ["Notes (only customer care)", "සටහන් (සේවකයින්ට පමණි)", "குறிப்புகள் (பணியாளர்களுக்கு மட்டும்)"],
  note: ["Add a note", "සටහනක්", "குறிப்பு"],
  transfer: ["Hand over to", "භාර දෙන්න", "ஒப்படை"],
  team: ["team…", "කණ්ඩායම…", "குழு…"],
  hand_over: ["Hand over", "භාර දෙන්න", "ஒப்படை"],
  tickets: ["Tickets", "ටිකට්පත්", "டிக்கெட்டுகள்"],
  ticket_subject: ["Subject of a new ticket", "නව ටිකට්පතේ මාතෘකාව", "புதிய டிக்கெட்டின் தலைப்பு"],
  ticket_comments: ["Comments", "අදහස්", "கருத்துகள்"],
  ticket_comment: ["A comment", "අදහසක්", "ஒரு கருத்து"],
  only_care: ["only customer care", "සේවකයින්ට පමණි", "பணியாளர்களுக்கு மட்டும்"],
  ticket_make: ["Open ticket", "ටිකට්පතක් අරින්න", "டிக்கெட் திற"],
  comment: ["A comment, if you like", "කැමති නම් අදහසක්", "விரும்பினால் ஒரு கருத்து"],
  copy: ["E-mail me a copy", "පිටපතක් ඊ-තැපෑලෙන් එවන්න", "பிரதியை மின்னஞ்சலில் அனுப்பு"],
  copied: ["A copy is on its way to {email}.", "පිටපතක් {email} වෙත යවනු ලැබේ.", "பிரதி {email} க்கு அனுப்பப்படுகிறது."],
  copy_customer: ["E-mail a copy", "පිටපතක් යවන්න", "பிரதி அனுப்பு"],
  sent: ["Sent", "යවන ලදී", "அனுப்பப்பட்டது"],
  no_email: ["Your profile has no e-mail address.", "ඔබේ පැතිකඩෙහි ඊ-තැපැල් ලිපිනයක් නැත.", "உங்கள் சுயவிவரத்தில் மின்னஞ்சல் முகவரி இல்லை."],
  try_again: ["Try again", "නැවත උත්සාහ කරන්න", "மீண்டும் முயல்க"],
  nothing_to_order: ["There is nothing to order here.", "මෙහි ඇණවුම් කිරීමට කිසිවක් නැත.", "இங்கே ஆர்டர் செய்ய எதுவும் இல்லை."],
  order_for: ["Order {name} for {price}", "{name} {price}ට ඇණවුම් කරන්න", "{name} ஐ {price}க்கு ஆர்டர் செய்"],
  order_free: ["Order {name}, free of charge", "{name} නොමිලේ ඇණවුම් කරන්න", "{name} ஐ இலவசமாக ஆர்டர் செய்"],
  free: ["free", "නොමිලේ", "இலவசம்"],
  ordered: ["Order {number}: {name}.", "ඇණවුම {number}: {name}.", "ஆர்டர் {number}: {name}."],
  pay_by_card: ["Pay by card", "කාඩ්පතෙන් ගෙවන්න", "அட்டை மூலம் செலுத்து"],
  pay_from_wallet: ["Pay {price} from the wallet", "පසුම්බියෙන් {price} ගෙවන්න", "பணப்பையிலிருந்து {price} செலுத்து"],
  really_pay: ["Pay {price} for {what} now?", "{what} සඳහා {price} දැන් ගෙවන්නද?", "{what} க்காக {price} இப்போது செலுத்தவா?"],
  pay_now: ["Yes, pay", "ඔව්, ගෙවන්න", "ஆம், செலுத்து"],
  paid: ["{price} paid for {what}.", "{what} සඳහා {price} ගෙවන ලදී.", "{what} க்காக {price} செலுத்தப்பட்டது."],
  supervise: ["The whole team", "මුළු කණ්ඩායම", "முழுக் குழு"],
  others: ["Conversations of others", "අන් අයගේ සංවාද", "மற்றவர்களின் உரையாடல்கள்"],
  longest_wait: ["Longest wait: {n} min", "දිගම රැඳී සිටීම: මිනිත්තු {n}", "நீண்ட காத்திருப்பு: {n} நிமிடம்"],
  waits: ["{n} min", "මිනි. {n}", "{n} நிமி."],
  takes: ["taking", "භාරගනී", "ஏற்கிறார்"],
  online: ["online", "සබැඳිව සිටී", "இணைப்பில் உள்ளார்"],
  not_here: ["not here just now", "මේ මොහොතේ නැත", "இப்போது இல்லை"],
  away: ["away", "නැත", "இல்லை"],
  late: ["late", "ප්‍රමාදයි", "தாமதம்"],
  begin: ["Begin", "අරඹන්න", "தொடங்கு"],
  waits_for_customer: ["Wait for customer", "පාරිභෝගිකයා එනතුරු", "வாடிக்கையாளருக்காகக் காத்திரு"],
  goes_on: ["Go on", "ඉදිරියට", "தொடர்க"],
  ticket_open: ["open", "විවෘතයි", "திறந்தது"],
  ticket_in_progress: ["in progress", "ක්‍රියාවෙහි", "நடைபெறுகிறது"],
  ticket_resolved: ["resolved", "විසඳන ලදී", "தீர்க்கப்பட்டது"],
  ticket_closed: ["closed", "වසා ඇත", "மூடப்பட்டது"],
  ticket_description: ["What it is about", "විස්තරය", "விவரம்"],
  category: ["Category", "වර්ගය", "வகை"],
  category_billing: ["Billing", "බිල්පත්", "பில்"],
  category_payment: ["Payment", "ගෙවීම්", "கட்டணம்"],
  category_service: ["Service", "සේවා", "சேவை"],
  category_network: ["Network", "ජාලය", "வலையமைப்பு"],
  category_other: ["Other", "වෙනත්", "பிற"],
  priority: ["Priority", "ප්‍රමුඛතාව", "முன்னுரிமை"],
  priority_low: ["Low", "අඩු", "குறைவு"],
  priority_normal: ["Normal", "සාමාන්‍ය", "சாதாரணம்"],
  priority_high: ["High", "ඉහළ", "உயர்"],
  priority_urgent: ["Urgent", "හදිසි", "அவசரம்"],
  resolve: ["Resolve", "විසඳන්න", "தீர்"],
};
const LANGUAGES = ["en", "si", "ta"];

export let language = localStorage.getItem("sri-care:language") || LANGUAGES.find((code) => navigator.language.startsWith(code)) || "en";

export function say(name, values = {}) {
  const found = TEXTS[name] ? TEXTS[name][LANGUAGES.indexOf(language)] : name;
  return found.replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

// Fill every element that names a text, and wire the language choice.
export function speak(changed) {
  const fill = () => {
    document.documentElement.lang = language;
    document.querySelectorAll("[data-text]").forEach((found) => (found.textContent = say(found.dataset.text)));
    document.querySelectorAll("[data-label]").forEach((found) => found.setAttribute("aria-label", say(found.dataset.label)));
    document.querySelectorAll("[data-hint]").forEach((found) => (found.placeholder = say(found.dataset.hint)));
    document.title = say(document.body.dataset.title);
  };
  document.querySelectorAll("select.language").forEach((choice) => {
    choice.value = language;
    choice.addEventListener("change", () => {
      language = choice.value;
      localStorage.setItem("sri-care:language", language);
      document.querySelectorAll("select.language").forEach((other) => (other.value = language));
      fill();
      changed();
    });
  });
  fill();
}
