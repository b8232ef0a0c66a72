// The four procedures of X.1410 as test purposes: each is replayed whole, and each of its steps has a verdict of its own.
import { STEPS } from "../catalogue.ts";
import { annexA1 } from "../procedures/annex-a1.ts";
import { annexA2 } from "../procedures/annex-a2.ts";
import type { Cast } from "../procedures/cast.ts";
import { figure3 } from "../procedures/figure-3.ts";
import { figure4 } from "../procedures/figure-4.ts";
import { type Procedure, replay } from "../procedures/procedure.ts";
import { type Arrow, type Purpose, purpose } from "./purpose.ts";

const initialStates = {
  F3: "accounts of a provider and a consumer; the consumer subscribed",
  F4: "data shared as in Figure 3, with an access permission",
  A1: "accounts of a provider and a consumer; the consumer subscribed",
  A2: "data shared as in Annex A.1, without an access permission",
} as const;

function replayed(procedure: Procedure<Cast>): Purpose {
  return purpose({
    id: `TP/ALL/${procedure.id}/BV-01`,
    title: `${procedure.title}, arrow by arrow`,
    clause: procedure.clause,
    steps: procedure.stepIds,
    // Key and data storage servers may be the kit's own.
    involves: ["dssm"],
    initialState: initialStates[procedure.id],
    stimulus: "the steps of the figure in its order",
    expected: "every step that can be seen is as the figure has it",
    diagram: STEPS.filter((step) => step.procedure === procedure.id).map(
      ({ id, from, to, what }): Arrow => [from, to, `${id} ${what}`],
    ),
    budgetSeconds: 60,
    async run(t) {
      const { provider, consumer, records } = t;
      const cast: Cast = { provider, consumer, records, leftovers: [] };
      t.cleanUp(async () => {
        for (const takeAway of cast.leftovers.reverse()) await takeAway();
      });
      const staged: Procedure<Cast> = {
        ...procedure,
        replay: async (script, roles) => {
          await script.preamble("accounts, and sessions of both", async () => {
            await t.inSession(provider);
            await t.inSession(consumer);
          });
          await procedure.replay(script, roles);
        },
      };
      const { steps } = await replay(staged, cast, (step) => t.step(step));
      const shown = steps.filter(({ verdict }) => verdict === "PASS").length;
      t.seen(`${shown} of ${steps.length} steps shown`);
    },
  });
}

export const procedurePurposes: readonly Purpose[] = [figure3, figure4, annexA1, annexA2].map(replayed);
