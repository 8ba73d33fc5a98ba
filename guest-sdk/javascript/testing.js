// For unit tests in Node: `node --import ./sdk/testing.js --test`. What the host offers stands still there.
import { register } from 'node:module';

const stubs = 'export default new Proxy({}, { get: () => () => 0 });';
const hooks = `export async function resolve(name, context, next) {
  if (!name.startsWith('mizzen:')) return next(name, context);
  return { url: 'data:text/javascript,' + ${JSON.stringify(encodeURIComponent(stubs))}, shortCircuit: true };
}`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);

/** The creation of an object, as a policy is asked. */
export const create = (object) => ({
  uid: 'test',
  operation: 'create',
  name: object.metadata?.name ?? '',
  namespace: object.metadata?.namespace ?? '',
  object: JSON.stringify(object),
  oldObject: null,
  options: null,
});

/** The scores of a scheduler plugin: `nodes` are objects of columns by name. */
export function scores(plugin, settings, nodes, pod = {}) {
  plugin.configure(JSON.stringify(settings));
  const names = plugin.describe().columns;
  const dictionary = [];
  const column = (name) => {
    const has = nodes.map((node) => name in node);
    const validity = new Uint8Array(Math.ceil(nodes.length / 8));
    has.forEach((yes, n) => yes && (validity[n >> 3] |= 1 << (n & 7)));
    const text = nodes.some((node) => typeof node[name] === 'string');
    const value = (node) => (text ? dictionary.push(node[name] ?? '') - 1 : node[name] ?? 0);
    return { name, validity, values: { tag: text ? 'texts' : 'integers', val: nodes.map(value) } };
  };
  const columns = names.map(column);
  const rows = nodes.map((_, row) => row);
  plugin.update({ since: 0, generation: 1, removed: [], changed: rows, dictionary, columns });
  const empty = { labels: [], annotations: [], requests: [], nodeSelector: [], tolerations: [] };
  plugin.preFilter({ cycle: 1, uid: '', namespace: '', name: '', ...empty, ...pod });
  return plugin.score(1, new Uint8Array(), rows);
}
