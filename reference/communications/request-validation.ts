// Requests obey the rules that the interface states on its fields, whatever they came over.
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { brokenField, compileRules } from "./field-rules.ts";
import type { Guard } from "./guard.ts";
import { refusal } from "./refusal.ts";
import type { Registration } from "./service.ts";

/** The guard that checks each request message; a broken rule is REQUEST_INVALID with the field's path as subject. */
export function requestValidation(registrations: readonly Registration[]): Guard {
  compileRules(registrations.flatMap(({ service }) => service.methods.map(({ input }) => input)));
  return {
    message(method, message) {
      const field = brokenField(method.input, message);
      if (field !== undefined) throw refusal(ErrorReason.REQUEST_INVALID, field);
    },
  };
}
