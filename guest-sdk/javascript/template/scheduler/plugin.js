import { define } from './sdk/scheduler.js';

export const plugin = define({
  validate({ label, values }) {
    if (typeof label !== 'string') throw new Error('settings: label is missing');
    if (!Array.isArray(values) || values.length === 0) throw new Error('values: name at least one');
  },

  columns: ({ label }) => [`label/${label}`],

  // The first of the values scores best.
  score(pod, node, { label, values }) {
    const place = values.indexOf(node.get(`label/${label}`));
    return place < 0 ? 0 : Math.floor((100 * (values.length - place)) / values.length);
  },
});
