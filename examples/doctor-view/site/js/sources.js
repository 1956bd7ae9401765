// Which institution a record comes from, by what is public of it. In this order: what the record itself says (custodian,
// serviceProvider, an Organization that performed or wrote it), what its Encounter says, and whose Patient it is about.
// Departments count as the institution that they are part of.
import { Problem, matches } from "./fhir.js";
import { display } from "./reading.js";

const DEPTH = 5; // Organizations from a department up to its institution
const BATCH = 50; // ids in one search
const UNSEEN = new Set([400, 403, 404, 410]); // statuses of what the user may not see

export class Sources {
  constructor(fhir) {
    this._fhir = fhir;
    this._known = new Map(); // reference → resource, or null if it cannot be seen
    this._turn = Promise.resolve();
    this.own = null; // {id, name} of the user's own institution, null if it is not known
  }

  /** Learn the user's own institution from their role. Where roles lead to several, none is taken for the own one. */
  async learnOwn(user) {
    const roles = await this._quietly(async () => {
      if (user.startsWith("PractitionerRole/")) return [await this._fhir.read(user)];
      if (!user.startsWith("Practitioner/")) return [];
      return matches(await this._fhir.search("PractitionerRole", { practitioner: user }));
    });
    const organizations = (roles ?? []).map((each) => each.organization).filter(Boolean);
    await this._learn(organizations.map((each) => each.reference));
    const found = new Map(organizations.map((each) => this._institution(each)).map((each) => [each.id, each]));
    this.own = found.size === 1 ? [...found.values()][0] : null;
  }

  /** Give every item without a source its `source`: {id, name, own}; own is null where it is not known. One call comes
   * after the other, so that none takes what another is about to learn for unknown. */
  place(items) {
    const turn = this._turn.then(() => this._place(items));
    this._turn = turn.catch(() => null);
    return turn;
  }

  async _place(items) {
    const open = items.filter((each) => !each.source);
    for (const { resource } of open) if (resource.resourceType === "Encounter") this._known.set(`Encounter/${resource.id}`, resource);
    await this._learn(open.flatMap(({ resource }) => this._saying(resource)).map((each) => each.reference));
    await this._learn(open.map(({ resource }) => patientOf(resource)?.reference));
    const keepers = open.map(({ resource }) => this._patient(resource)?.managingOrganization?.reference);
    await this._learn(keepers);
    for (const item of open) item.source = this._sourceOf(item.resource);
  }

  _sourceOf(resource) {
    const said = [...this._saying(resource), this._patient(resource)?.managingOrganization].find((each) => each?.reference);
    const { id, name } = said ? this._institution(said) : { id: "", name: "" };
    return { id, name, own: this.own && id ? this.own.id === id : null };
  }

  /** Return the references by which a record, or else its Encounter, tells where it was made. */
  _saying(resource) {
    const visit = this._known.get(resource.encounter?.reference ?? resource.context?.encounter?.[0]?.reference);
    return [...telling(resource), ...(visit ? telling(visit) : [])];
  }

  _patient(resource) {
    return this._known.get(patientOf(resource)?.reference);
  }

  /** Return {id, name} of the institution that an Organization is or belongs to. */
  _institution(reference) {
    let at = reference;
    for (let depth = 0; depth < DEPTH; depth += 1) {
      const above = this._known.get(at.reference)?.partOf;
      if (!above?.reference) break;
      at = above;
    }
    const found = this._known.get(at.reference);
    return { id: at.reference, name: found?.name || display(at) || at.reference };
  }

  /** Read what is not known yet, Organizations with all that they are part of. */
  async _learn(references) {
    let open = new Set(references.filter((each) => /^(Organization|Patient)\/[\w.-]+$/.test(each ?? "")));
    for (let depth = 0; depth < DEPTH && open.size; depth += 1) {
      const wanted = [...open].filter((each) => !this._known.has(each));
      for (let from = 0; from < wanted.length; from += BATCH) await this._fetch(wanted.slice(from, from + BATCH));
      open = new Set(wanted.map((each) => this._known.get(each)?.partOf?.reference).filter(Boolean));
    }
  }

  async _fetch(references) {
    for (const type of new Set(references.map((each) => each.split("/")[0]))) {
      const wanted = references.filter((each) => each.startsWith(`${type}/`));
      const ids = wanted.map((each) => each.split("/")[1]);
      const found = await this._quietly(() => this._fhir.search(type, { _id: ids.join(","), _count: BATCH }));
      for (const each of wanted) this._known.set(each, null);
      for (const each of found ? matches(found) : []) this._known.set(`${type}/${each.id}`, each);
    }
  }

  /** What the user may not see leaves the source unsaid; where the server cannot be asked, nothing is claimed at all. */
  async _quietly(work) {
    try {
      return await work();
    } catch (problem) {
      if (problem instanceof Problem && UNSEEN.has(problem.status)) return null;
      throw problem;
    }
  }
}

function patientOf(resource) {
  return resource.subject ?? resource.patient;
}

function telling(resource) {
  const actors = (resource.performer ?? []).map((each) => each.actor ?? each);
  const said = [resource.custodian, resource.serviceProvider, ...actors, ...(resource.author ?? []), resource.requester];
  return said.filter((each) => each?.reference?.startsWith("Organization/"));
}
