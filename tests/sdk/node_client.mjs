// The `openai` package as anybody would use it. Arguments: address, token. Prints what it got as JSON.
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const texts = ["a green window", "good morning to all"];
const many = await client.moderations.create({ input: texts });
const one = await client.moderations.create({ model: "omni-moderation-latest", input: texts[0] });
const parts = await client.moderations.create({ input: [{ type: "text", text: texts[1] }] });

async function refusal(call) {
  try {
    await call();
  } catch (error) {
    return { kind: error.constructor.name, status: error.status };
  }
  return null;
}

const stranger = new OpenAI({ baseURL, apiKey: "st_wrong", maxRetries: 0 });
const refused = [
  await refusal(() => stranger.moderations.create({ input: texts[0] })),
  await refusal(() => client.moderations.create({ input: [] })),
];
console.log(JSON.stringify({ many, one, parts, refused }));
