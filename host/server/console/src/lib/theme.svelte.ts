/** Light or dark: what the system says, unless somebody has chosen. */

export type Choice = 'system' | 'light' | 'dark';

const KEY = 'spout-theme';
const system = matchMedia('(prefers-color-scheme: dark)');

class Theme {
  choice = $state<Choice>((localStorage.getItem(KEY) as Choice | null) ?? 'system');
  system = $state(system.matches);
  dark = $derived(this.choice === 'system' ? this.system : this.choice === 'dark');
}

export const theme = new Theme();

system.addEventListener('change', () => (theme.system = system.matches));

export function choose(choice: Choice): void {
  theme.choice = choice;
  localStorage.setItem(KEY, choice);
}

/** The value of a colour of `app.css` now, for what is drawn on a canvas. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
