/** Writes down what a live region says from now on, and what it says now. @returns {Promise<() => Promise<string[]>>} */
export async function listen(tab, id) {
  const key = `__said_${id}`;
  await tab.page.evaluate(([at, name]) => {
    const region = document.querySelector(`[data-testid="${at}"]`);
    window[name] = region.textContent ? [region.textContent] : [];
    new MutationObserver(() => { window[name].push(region.textContent); })
      .observe(region, { childList: true, characterData: true, subtree: true });
  }, [id, key]);
  return () => tab.page.evaluate((name) => window[name], key);
}
