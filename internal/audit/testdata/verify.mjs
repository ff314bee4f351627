// Verifies vectors.json with ECMAScript, whose numbers, strings and order of names
// RFC 8785 took: `node verify.mjs`. It shares no code with package audit.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

function canonical(value) {
  if (Array.isArray(value)) return '[' + value.map(canonical).join(',') + ']';
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  // The default order of sort() is that of UTF-16 code units.
  return '{' + Object.keys(value).sort().map((k) => JSON.stringify(k) + ':' + canonical(value[k])).join(',') + '}';
}

const vectors = JSON.parse(readFileSync(new URL('vectors.json', import.meta.url)));
let wrong = 0;
for (const { why, event, content, digest } of vectors) {
  const data = canonical(event.event_data);
  const same = content === canonical(JSON.parse(content)) && content.includes('"event_data":' + data + ',"event_id"');
  const sum = 'sha256:' + createHash('sha256').update(content).digest('hex');
  if (same && sum === digest) continue;
  wrong++;
  console.error(`${why}: ${same ? 'the digest is ' + sum : 'the content is not canonical'}`);
}
console.log(`${vectors.length} vectors, ${wrong} wrong`);
process.exit(wrong ? 1 : 0);
