import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plugin } from './plugin.js';
import { scores } from './sdk/testing.js';

test('the most wanted value scores best', () => {
  const nodes = [{ 'label/zone': 'north' }, { 'label/zone': 'south' }, {}];
  assert.deepEqual(scores(plugin, { label: 'zone', values: ['north', 'south'] }, nodes), [100, 50, 0]);
});
