/** The verifier away from the page: takes a file, answers with progress and with what was found. */
import { Fault, binary, printable } from "./bytes.ts";
import { fromBlob } from "./container.ts";
import { type Verified, verifyPack } from "./whole.ts";
import { type VerifiedReceipt, verifyReceipt } from "./receipt.ts";

export interface Task {
  file: File;
  previous: File | null;
  key: string | null;
  witnesses: string[];
  certificates: File[];
}

export interface FaultFound {
  check: string;
  where: string;
  index: number | null;
  fault: string;
}

export type Answer =
  | { kind: "progress"; done: number; total: number }
  | { kind: "pack"; result: Verified }
  | { kind: "receipt"; result: VerifiedReceipt }
  | { kind: "fault"; result: FaultFound }
  | { kind: "unreadable" };

const answer = (message: Answer): void => postMessage(message);
const AT_MOST_EVERY = 50;

async function verify({ file, previous, key, witnesses, certificates }: Task): Promise<Answer> {
  const start = binary(new Uint8Array(await file.slice(0, 2).arrayBuffer()));
  if (start !== "PK" && !/\.zip$/i.test(file.name)) return { kind: "receipt", result: await verifyReceipt(fromBlob(file), key, witnesses) };
  let said = 0;
  const progress = (done: number, total: number): void => {
    const now = performance.now();
    if (now - said < AT_MOST_EVERY) return;
    said = now;
    answer({ kind: "progress", done, total });
  };
  const result = await verifyPack(fromBlob(file), {
    vkey: key,
    previous: previous && fromBlob(previous),
    witnesses,
    certificates: await Promise.all(certificates.map((each) => each.slice(0, 1 << 20).text())),
    progress,
  });
  return { kind: "pack", result };
}

onmessage = async ({ data }: MessageEvent<Task>): Promise<void> => {
  try {
    answer(await verify(data));
  } catch (error) {
    if (!(error instanceof Fault)) return answer({ kind: "unreadable" });
    const { check, where, index, message } = error;
    answer({ kind: "fault", result: { check, where: printable(where), index, fault: printable(message) } });
  }
};
