/** Tabs as the ARIA practices describe them: arrows move between them, one is open. */
export function tabs(list: HTMLElement, opened: (panel: string) => void): void {
  const all = [...list.querySelectorAll<HTMLButtonElement>('[role="tab"]')];
  const open = (chosen: HTMLButtonElement) => {
    for (const tab of all) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls") ?? "")!.hidden = !isChosen;
    }
    opened(chosen.getAttribute("aria-controls") ?? "");
  };
  for (const [at, tab] of all.entries()) {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", ({ key }) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[key];
      const next = by && all[(at + by + all.length) % all.length];
      if (!next) return;
      next.focus();
      open(next);
    });
  }
}
