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
const say = () => {
  const details = Object.fromEntries(flags.map((flag) => [flag, client.getBooleanDetails(flag, true)]));
  console.log(JSON.stringify({ details, stored: [...stored.values()] }));
};
client.addHandler(ProviderEvents.ConfigurationChanged, say);
await OpenFeature.setContext(context);
await OpenFeature.setProviderAndWait(provider);
say();
process.stdin.on('end', () => process.exit(0)).resume();
