CREATE TABLE author (name VARCHAR(100)) ENGINE=InnoDB;
INSERT INTO author VALUES ('A. Writer');
