// How a long procedure tells what it is doing.

/** `step` is the step of the procedure; `underWay` marks news that the next one replaces, such as bytes sent so far. */
export type Progress = (step: string, text: string, underWay?: boolean) => void;

export const noProgress: Progress = () => {};

/** One line for each step on standard error; on a terminal, what is under way is shown in place. */
export function progressOn(stream: NodeJS.WriteStream): Progress {
  let shown = 0;
  return (step, text, underWay = false) => {
    if (underWay && !stream.isTTY) return;
    const now = Date.now();
    if (underWay && now - shown < 100) return;
    shown = underWay ? now : 0;
    const clear = stream.isTTY ? "\r\u001b[K" : "";
    stream.write(`${clear}${step.padEnd(8)}${text}${underWay ? "" : "\n"}`);
  };
}
