// fhir-kit-client against the server that the arguments name: what its users do in a day. Exits with 1 if anything fails.
import assert from 'node:assert/strict';
import { Client } from 'fhir-kit-client';

const [baseUrl, bearerToken] = process.argv.slice(2);
const client = new Client({ baseUrl, bearerToken });
const SYSTEM = 'http://example.org/kit';
const entries = (bundle) => bundle.entry ?? [];
const status = (promise) => promise.then(() => 'answered', (error) => error.response?.status);

const statement = await client.capabilityStatement();
assert.equal(statement.fhirVersion, '4.0.1');

// create, read, vread, update, patch, delete
const family = (number) => ({
  resourceType: 'Patient', identifier: [{ system: SYSTEM, value: `k${number}` }], name: [{ family: `Kit${number}` }],
});
const patients = [];
for (let number = 0; number < 5; number += 1) {
  patients.push(await client.create({ resourceType: 'Patient', body: family(number) }));
}
const [first] = patients;
assert.deepEqual(await client.read({ resourceType: 'Patient', id: first.id }), first);
const updated = await client.update({ resourceType: 'Patient', id: first.id, body: { ...first, gender: 'female' } });
assert.equal(updated.meta.versionId, '2');
assert.deepEqual(await client.vread({ resourceType: 'Patient', id: first.id, version: '1' }), first);
const patched = await client.patch({
  resourceType: 'Patient', id: first.id, jsonPatch: [{ op: 'replace', path: '/gender', value: 'male' }],
});
assert.equal(patched.gender, 'male');
const conditional = await client.update({
  resourceType: 'Patient', searchParams: { identifier: `${SYSTEM}|k1` }, body: { ...family(1), active: true },
});
assert.equal(conditional.id, patients[1].id);

// search: by GET and POST, pages, compartments, the whole system
await client.create({
  resourceType: 'Observation',
  body: { resourceType: 'Observation', status: 'final', code: { text: 'x' }, subject: { reference: `Patient/${first.id}` } },
});
const found = await client.search({ resourceType: 'Patient', searchParams: { family: 'kit', _count: 2, _sort: 'family' } });
const names = [];
for (let page = found; page; page = await client.nextPage({ bundle: page })) {
  names.push(...entries(page).map((entry) => entry.resource.name[0].family));
}
assert.deepEqual(names, ['Kit0', 'Kit1', 'Kit2', 'Kit3', 'Kit4']);
const posted = await client.search({
  resourceType: 'Patient', searchParams: { identifier: `${SYSTEM}|k3` }, options: { postSearch: true },
});
assert.equal(entries(posted)[0].resource.id, patients[3].id);
const within = await client.search({ resourceType: 'Observation', compartment: { resourceType: 'Patient', id: first.id } });
assert.equal(entries(within).length, 1);
const everywhere = await client.search({ searchParams: { _type: 'Patient,Observation', _id: first.id } });
assert.equal(entries(everywhere).length, 1);

// history at all levels, operations
const versions = await client.history({ resourceType: 'Patient', id: first.id });
assert.deepEqual(entries(versions).map((entry) => entry.resource.meta.versionId), ['3', '2', '1']);
assert.ok(entries(await client.history({ resourceType: 'Patient' })).length >= 8);
assert.ok(entries(await client.history()).length >= 9);
const record = await client.operation({ name: 'everything', resourceType: 'Patient', id: first.id, method: 'GET' });
assert.deepEqual(entries(record).map((entry) => entry.resource.resourceType).sort(), ['Observation', 'Patient']);

// Bundles
const asked = { method: 'GET', url: `Patient/${first.id}` };
const batch = await client.batch({ body: { resourceType: 'Bundle', type: 'batch', entry: [{ request: asked }] } });
assert.equal(batch.entry[0].response.status.slice(0, 3), '200');
const entry = { resource: family(9), request: { method: 'POST', url: 'Patient', ifNoneExist: `identifier=${SYSTEM}|k4` } };
const transaction = await client.transaction({ body: { resourceType: 'Bundle', type: 'transaction', entry: [entry] } });
assert.equal(transaction.entry[0].response.status.slice(0, 3), '200');

// refusals
assert.equal(await status(client.read({ resourceType: 'Patient', id: 'none' })), 404);
assert.equal(await status(client.search({ resourceType: 'Patient', searchParams: { nosuch: '1' } })), 400);
await client.delete({ resourceType: 'Patient', id: patients[4].id });
assert.equal(await status(client.read({ resourceType: 'Patient', id: patients[4].id })), 410);
