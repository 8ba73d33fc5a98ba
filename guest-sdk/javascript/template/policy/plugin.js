import { allow, define, deny } from './sdk/policy.js';

export const policy = define({
  validate(settings) {
    if (!Array.isArray(settings.labels)) throw new Error('settings: labels is missing');
  },

  review(request, settings) {
    const labels = request.object?.metadata?.labels ?? {};
    const missing = settings.labels.filter((label) => !labels[label]);
    return missing.length === 0 ? allow() : deny(`missing labels: ${missing.join(', ')}`);
  },
});
