// Evaluates flags with @openfeature/ofrep-provider as it is: questions as JSON on standard input, details on output.
import { readFileSync } from 'node:fs';
import { OpenFeature } from '@openfeature/server-sdk';
import { OFREPProvider } from '@openfeature/ofrep-provider';

const { url, key, questions } = JSON.parse(readFileSync(0, 'utf8'));
const provider = new OFREPProvider({ baseUrl: url, headers: [['Authorization', `Bearer ${key}`]] });
await OpenFeature.setProviderAndWait(provider);
const client = OpenFeature.getClient();
const answers = [];
for (const { flag, context, fallback } of questions) {
  answers.push(await client.getBooleanDetails(flag, fallback, context));
}
console.log(JSON.stringify(answers));
