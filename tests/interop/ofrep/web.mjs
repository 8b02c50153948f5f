// Follows one subject with @openfeature/ofrep-web-provider as it is: a line of details at the start and at each change.
import { EventSource } from 'eventsource';
import { OpenFeature, ProviderEvents } from '@openfeature/web-sdk';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';

const { url, token, context, flags, options } = JSON.parse(process.argv[2]);
const stored = new Map();
globalThis.EventSource = EventSource; // Browsers have one; Node.js 20 does not.
globalThis.localStorage = {
  getItem: (name) => stored.get(name) ?? null,
  setItem: (name, value) => void stored.set(name, String(value)),
  removeItem: (name) => void stored.delete(name),
};
const provider = new OFREPWebProvider({
  baseUrl: url,
  headers: [['Authorization', `Bearer ${token}`]],
  ...options,
});
const client = OpenFeature.getClient();
let fresh = false; // As docs/reference/ofrep.md has it, word for word.
for (const event of [ProviderEvents.Ready, ProviderEvents.ConfigurationChanged]) {
  client.addHandler(event, () => { fresh = true; });
}
for (const event of [ProviderEvents.Stale, ProviderEvents.Error]) {
  client.addHandler(event, () => { fresh = false; });
}
const may = (purpose) => fresh && client.getBooleanValue(purpose, false);

const say = () => {
  const details = Object.fromEntries(flags.map((flag) => [flag, client.getBooleanDetails(flag, true)]));
  console.log(JSON.stringify({ details, may: flags.filter(may), stored: [...stored.values()] }));
};
for (const event of [ProviderEvents.Stale, ProviderEvents.ConfigurationChanged]) client.addHandler(event, say);
await OpenFeature.setContext(context);
await OpenFeature.setProviderAndWait(provider);
client.addHandler(ProviderEvents.Ready, say); // At once, for it is ready.
process.stdin.on('end', () => process.exit(0)).resume();
