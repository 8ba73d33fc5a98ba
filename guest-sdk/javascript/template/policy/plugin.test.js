import assert from 'node:assert/strict';
import { test } from 'node:test';
import { policy } from './plugin.js';
import { create } from './sdk/testing.js';

test('an object without the label is denied', () => {
  policy.configure('{"labels": ["team"]}');
  const answer = (labels) => policy.review(create({ kind: 'Pod', metadata: { name: 'web', labels } })).decision;
  assert.equal(answer({ team: 'shop' }).tag, 'allow');
  assert.equal(answer({}).val.message, 'missing labels: team');
});
