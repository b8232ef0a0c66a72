// The registry of functional entities (network parameters, U4) as a server asks it: who belongs to the network.

export interface EntityRegistry {
  /** Whether an entity of this identity, urn:x1410:entity:KIND:NAME, is registered. */
  has(identity: string): boolean | Promise<boolean>;
}
