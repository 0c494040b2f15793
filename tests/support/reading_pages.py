"""What a person could not read on a page: scripts that run in a browser and list it."""

OVERFLOWING = """
() => [...document.querySelectorAll('body *')]
  .filter(element => !element.closest('svg') && !element.closest('.scroll'))
  .filter(element => element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map(element => element.outerHTML.slice(0, 120))
"""

HIDDEN_BY_SCROLLING = """
() => [...document.querySelectorAll('.scroll')]
  .filter(element => element.scrollWidth > element.clientWidth + 1)
  .map(element => `${element.scrollWidth} in ${element.clientWidth}`)
"""

# texts whose colour stands out too little from what is behind them: WCAG 2.2 asks for a contrast of 4.5
FAINT = """
() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const painted = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const found = [];
    for (let at = element; at; at = at.parentElement) found.unshift(getComputedStyle(at).backgroundColor);
    return ['white', ...found];
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || element.closest('style') || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), paper = behind(element);
    const ink = light(painted([...paper, element.closest('svg') ? style.fill : style.color])), back = light(painted(paper));
    const contrast = (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05);
    if (contrast < 4.5) faint.push(`${text.slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  return faint;
}
"""
