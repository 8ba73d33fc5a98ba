// An admission policy as one function: `export const policy = define({ review(request, settings) { … } })`.

/** The request goes through. */
export const allow = (warnings = []) => ({ decision: { tag: 'allow' }, warnings, auditAnnotations: [] });

/** The request is refused: 403 Forbidden unless another code is given. */
export const deny = (message, { code = 403, reason = '', warnings = [] } = {}) => ({
  decision: { tag: 'deny', val: { code, reason, message } },
  warnings,
  auditAnnotations: [],
});

/** The request goes through with this object in place of its own; say `mutating: true` in `define`. */
export const replace = (object, warnings = []) => ({
  decision: { tag: 'replace', val: JSON.stringify(object) },
  warnings,
  auditAnnotations: [],
});

/**
 * What the world `admission-policy` exports.
 *
 * - `review(request, settings)` answers `allow()`, `deny(…)` or `replace(…)`; `request.object` and `request.oldObject` are
 *   objects, or null.
 * - `validate(settings)` throws what is wrong with the settings.
 * - `mutating`: whether it may answer `replace`.
 * - `needs(settings)`: the kinds that it asks of in `mizzen:policy/context`, as `{ apiVersion, kind }`.
 */
export function define({ review, validate = () => {}, mutating = false, needs = () => [] }) {
  let settings = {};
  const one = (request) => review(parsed(request), settings);
  return {
    validateSettings(json) {
      said(() => validate(JSON.parse(json)));
    },
    configure(json) {
      settings = JSON.parse(json);
      const need = (it) => ({ namespace: '', labelSelector: '', indexes: [], ...it });
      return { mutating, needs: needs(settings).map(need) };
    },
    review: one,
    reviewBatch: (requests) => requests.map(one),
  };
}

function parsed(request) {
  const json = (text) => (text == null ? null : JSON.parse(text));
  return { ...request, object: json(request.object), oldObject: json(request.oldObject), options: json(request.options) };
}

// The contract's errors are texts.
function said(call) {
  try {
    call();
  } catch (error) {
    throw error instanceof Error ? error.message : String(error);
  }
}
