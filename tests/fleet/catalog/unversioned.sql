BEGIN TRANSACTION;
CREATE TABLE bundles (
	bundle_id VARCHAR NOT NULL, 
	profile VARCHAR NOT NULL, 
	release_counter BIGINT NOT NULL, 
	run_id VARCHAR, 
	manifest BLOB NOT NULL, 
	facts JSON NOT NULL, 
	at_ns BIGINT NOT NULL, 
	PRIMARY KEY (bundle_id)
);
INSERT INTO "bundles" VALUES('b-2','laptop',2,'t-1',X'','{}',1800000000000000000);
CREATE TABLE campaigns (
	campaign_id VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	record BLOB NOT NULL, 
	vehicles JSON NOT NULL, 
	until_ns BIGINT NOT NULL, 
	approved_by VARCHAR NOT NULL, 
	at_ns BIGINT NOT NULL, 
	PRIMARY KEY (campaign_id)
);
CREATE TABLE clips (
	clip_id VARCHAR NOT NULL, 
	blob_id VARCHAR NOT NULL, 
	blob_bytes BIGINT NOT NULL, 
	vehicle_id VARCHAR NOT NULL, 
	drive_id VARCHAR NOT NULL, 
	bundle_id VARCHAR NOT NULL, 
	campaign_ids JSON NOT NULL, 
	rules JSON NOT NULL, 
	worth FLOAT NOT NULL, 
	start_ns BIGINT NOT NULL, 
	end_ns BIGINT NOT NULL, 
	frame_count INTEGER NOT NULL, 
	manifest BLOB NOT NULL, 
	at_ns BIGINT NOT NULL, 
	PRIMARY KEY (clip_id), 
	FOREIGN KEY(vehicle_id) REFERENCES vehicles (vehicle_id)
);
INSERT INTO "clips" VALUES('cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd',4,'v-01','d-1','b-2','["edge_cases"]','["low_ttc"]',0.25,1,2,1,X'7365616C6564',1800000000000000000);
CREATE TABLE datasets (
	dataset_id VARCHAR NOT NULL, 
	purpose VARCHAR NOT NULL, 
	blob_id VARCHAR NOT NULL, 
	facts JSON NOT NULL, 
	at_ns BIGINT NOT NULL, 
	PRIMARY KEY (dataset_id)
);
INSERT INTO "datasets" VALUES('d-edge','train','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','{"names": ["edge"], "samples": 1, "clips": 1, "said_purpose": "edge cases"}',1800000000000000000);
CREATE TABLE events (
	stream VARCHAR NOT NULL, 
	seq BIGINT NOT NULL, 
	schema VARCHAR NOT NULL, 
	at_ns BIGINT NOT NULL, 
	actor VARCHAR NOT NULL, 
	cause VARCHAR NOT NULL, 
	payload BLOB NOT NULL, 
	hash VARCHAR NOT NULL, 
	PRIMARY KEY (stream, seq)
);
INSERT INTO "events" VALUES('vehicle/v-01',0,'vehicle_enrolled.1',1800000000000000000,'operator','enrolment',X'7B2270726F66696C65223A226C6170746F70227D','c9dfe106cf7bb67045b2c843a475a9216049fcf441d5a66e21bed8d49fee28bd');
INSERT INTO "events" VALUES('rollout/r-1',0,'rollout_step.1',1800000000000000000,'operator','start',X'7B2273746570223A22383361353635373636353665373461373733373436313732373436353634613536313734356636653733636631386661653237363933623430303030613536313633373436663732613836663730363537323631373436663732227D','8419bf6173b879e7b435f39ea2fd002262947834bce99bdcd89abe08812d3ce3');
CREATE TABLE keys (
	"key" VARCHAR NOT NULL, 
	purpose VARCHAR NOT NULL, 
	vehicle_id VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	at_ns BIGINT NOT NULL, 
	PRIMARY KEY ("key"), 
	FOREIGN KEY(vehicle_id) REFERENCES vehicles (vehicle_id)
);
CREATE TABLE labels (
	label_id VARCHAR NOT NULL, 
	clip_id VARCHAR NOT NULL, 
	source VARCHAR NOT NULL, 
	blob_id VARCHAR NOT NULL, 
	facts JSON NOT NULL, 
	at_ns BIGINT NOT NULL, 
	PRIMARY KEY (label_id)
);
INSERT INTO "labels" VALUES('l-1-c','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','l-1','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','{"instants": 1, "auto": 2, "reviewed": 1, "masked": 0}',1800000000000000000);
CREATE TABLE quarantine (
	offer_id VARCHAR NOT NULL, 
	clip_id VARCHAR NOT NULL, 
	offered_blob_id VARCHAR NOT NULL, 
	blob_id VARCHAR NOT NULL, 
	blob_bytes BIGINT NOT NULL, 
	vehicle_id VARCHAR NOT NULL, 
	reasons JSON NOT NULL, 
	manifest BLOB NOT NULL, 
	at_ns BIGINT NOT NULL, 
	PRIMARY KEY (offer_id), 
	FOREIGN KEY(vehicle_id) REFERENCES vehicles (vehicle_id)
);
CREATE TABLE reports (
	vehicle_id VARCHAR NOT NULL, 
	boot_id VARCHAR NOT NULL, 
	sequence BIGINT NOT NULL, 
	bundle_id VARCHAR NOT NULL, 
	release_counter BIGINT NOT NULL, 
	phase VARCHAR NOT NULL, 
	payload BLOB NOT NULL, 
	signature BLOB NOT NULL, 
	at_ns BIGINT NOT NULL, 
	PRIMARY KEY (vehicle_id, boot_id, sequence), 
	FOREIGN KEY(vehicle_id) REFERENCES vehicles (vehicle_id)
);
CREATE TABLE rollouts (
	rollout_id VARCHAR NOT NULL, 
	bundle_id VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	facts JSON NOT NULL, 
	at_ns BIGINT NOT NULL, 
	PRIMARY KEY (rollout_id)
);
INSERT INTO "rollouts" VALUES('r-1','b-2','planned','{"plan": "86aa726f6c6c6f75745f6964a3722d31a963616e64696461746585a962756e646c655f6964a3622d32a770726f66696c65a66c6170746f70af72656c656173655f636f756e74657202ae756e7061636b65645f627974657301a8637269746963616c90a46865616c85a962756e646c655f6964a3622d32a770726f66696c65a66c6170746f70af72656c656173655f636f756e74657203ae756e7061636b65645f627974657301a8637269746963616c90a577617665739191a4762d3031ab7265706f72745f6b65797381a4762d3031c420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fa472756c6585a57469636b73cd0168aa6d61785f6661756c747300aa66756c6c5f726174696fcb3fe0000000000000a87265706f72745f73cb4082c00000000000a6776176655f73cb40f5180000000000"}',1800000000000000000);
CREATE TABLE runs (
	run_id VARCHAR NOT NULL, 
	stage VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	dataset_id VARCHAR, 
	facts JSON NOT NULL, 
	at_ns BIGINT NOT NULL, 
	PRIMARY KEY (run_id)
);
INSERT INTO "runs" VALUES('l-1','label','done',NULL,'{"labeler": "sim.annotator:over", "budget_tracks": 80, "choice": "value", "seed": 0, "clips": 1, "auto": 2, "reviewed": 1, "masked": 0, "questions": 3, "asked": 1, "asked_by_reason": {"low_confidence": 1}, "answered_by_category": {"animal": 1}, "reviewer_tracks": 1, "reviewer_seconds": 4.5}',1800000000000000000);
INSERT INTO "runs" VALUES('t-1','train','done','d-edge','{"size": "pico", "known": ["car"], "fresh": ["d-edge"], "replay": [], "parent_sha256": null, "calibration": "d-tune", "examples": 3, "replay_examples": 0, "steps": 6, "final_losses": {"heat": 1.5}, "blobs": {"weights.bin": "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"}}',1800000000000000000);
INSERT INTO "runs" VALUES('e-1','evaluate','done',NULL,'{"models": {"candidate": "t-1", "incumbent": "t-0"}, "sets": {"tune": "d-tune"}, "decision": "pass", "reasons": ["no class fell"], "verdict_blob_id": "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"}',1800000000000000000);
CREATE TABLE vehicles (
	vehicle_id VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	profile VARCHAR NOT NULL, 
	rig_id VARCHAR, 
	at_ns BIGINT NOT NULL, 
	PRIMARY KEY (vehicle_id)
);
INSERT INTO "vehicles" VALUES('v-01','active','laptop',NULL,1800000000000000000);
CREATE INDEX ix_labels_clip_id ON labels (clip_id);
CREATE INDEX ix_keys_vehicle_id ON keys (vehicle_id);
CREATE INDEX ix_clips_vehicle_id ON clips (vehicle_id);
CREATE INDEX ix_quarantine_vehicle_id ON quarantine (vehicle_id);
COMMIT;
