// Makes the replica set and the broker's user; run again, it changes nothing.
const root = encodeURIComponent(process.env.MONGO_ROOT_PASSWORD);
const client = new Mongo(`mongodb://root:${root}@mongodb:27017/?directConnection=true`);
const admin = client.getDB("admin");

try {
  admin.adminCommand({ replSetGetStatus: 1 });
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  const members = [{ _id: 0, host: "mongodb:27017" }];
  admin.adminCommand({ replSetInitiate: { _id: "rs0", members } });
}
while (!admin.hello().isWritablePrimary) sleep(200);

// A database for each tenant, so any database; no administration of users or of the set.
if (admin.getUser("knutpunkt") === null) {
  const roles = ["readWriteAnyDatabase"];
  admin.createUser({ user: "knutpunkt", pwd: process.env.MONGO_BROKER_PASSWORD, roles });
}
