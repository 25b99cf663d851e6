/** Names for those who have not chosen one; short, and friendly in any company. */
const ANIMALS =
  "Alpaca Badger Beaver Bison Bobcat Capybara Caracal Chamois Civet Condor Coyote Crane Curlew Dolphin Dormouse " +
  "Egret Eider Elk Falcon Fennec Ferret Finch Gannet Gazelle Gecko Genet Gibbon Grebe Hare Hedgehog Heron Hoopoe " +
  "Ibex Ibis Jackdaw Jay Kestrel Kiwi Koala Lapwing Lark Lemur Linnet Llama Lynx Magpie Manatee Marmot Marten Merlin " +
  "Moose Narwhal Newt Ocelot Oriole Osprey Otter Owl Panda Pelican Penguin Pika Plover Puffin Quail Raven Robin " +
  "Seal Serval Siskin Starling Stoat Stork Swan Swift Tapir Tern Toucan Turtle Vole Walrus Wombat Wren Yak Zebra";

/** One of them, by chance. */
export function anyAnimal() {
  const names = ANIMALS.split(" ");
  return names[Math.floor(Math.random() * names.length)];
}
